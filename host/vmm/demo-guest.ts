// The script of the page's guest, from making its disk to its last shell. The machine is saved in the middle of it, at
// `save`, when the disk is no longer mounted and nothing of it is in memory: whoever resumes the machine may have
// another disk by then. Portable text; demo-assets.ts runs the first part, the page the second.

/**
 * What the resumed guest is told first, by one line on its console that it does not echo: the terminal's size, and the
 * time, which stood still.
 */
export function demoGreeting(rows: number, columns: number, milliseconds: number): string {
  return `${rows} ${columns} ${Math.floor(milliseconds / 1000)}\n`
}

const README = `This disk is a file in your browser; every request for it goes through the virtio-blk engine of this page.

  dd if=/dev/zero of=big bs=1M count=8; sync     watch the charts
  echo 3 >/proc/sys/vm/drop_caches; cat big >/dev/null     and read it back
  vi notes; sync     what is synced is here after a reload
`

/**
 * Free memory is filled with zeros and given back, because pages of zeros are left out of a saved machine. The kernel
 * keeps 4 MiB meanwhile: with less it now and then found no page for a new process, and panicked.
 *
 * `poweroff` leaves the shell, so that the script can unmount the disk first.
 */
export const DEMO_SCRIPT = `
set -e
mkfs.ext4 -q -m 0 -L demo -E lazy_itable_init=0,lazy_journal_init=0 /dev/vda
mount -t ext4 /dev/vda /mnt
cat >/mnt/README <<'END'
${README}END
umount /mnt
rm -r /lib/modules
echo "alias poweroff=exit halt=exit reboot=exit ll='ls -l'" >/tmp/shrc
free() { while read name kib unit; do [ $name = MemFree: ] && echo $kib; done </proc/meminfo; true; }
sync
echo 3 >/proc/sys/vm/drop_caches
mkdir /zeros
mount -t tmpfs -o size=100% tmpfs /zeros
dd if=/dev/zero of=/zeros/file bs=4k count=$(($(free) / 4 - 1024)) 2>/dev/null
umount /zeros
rmdir /zeros
echo 3 >/proc/sys/vm/drop_caches
stty -F /dev/console -echo
dmesg -c >/dev/null
set +e
save
read -t 5 -r rows columns now </dev/console
stty -F /dev/console echo \${rows:+rows $rows columns $columns}
date -s @\${now:-0} >/dev/null
if mount -t ext4 /dev/vda /mnt 2>/tmp/error; then
  dmesg | grep -q 'recovery complete' && echo 'ext4 found a disk that was not unmounted, and replayed its journal.'
  cd /mnt
  read -r sectors </sys/block/vda/size
  echo "/dev/vda, $((sectors / 2048)) MiB, is mounted on /mnt."
else
  blockdev --rereadpt /dev/vda 2>/dev/null
  echo "/dev/vda has no ext4 filesystem ($(tail -n 1 /tmp/error))."
  if [ -e /dev/vda1 ]; then
    echo "It has partitions: $(echo /dev/vda?*). To look into one: mount /dev/vda1 /mnt"
  else
    echo "To make one, which destroys what is on it: mkfs.ext4 /dev/vda && mount /dev/vda /mnt"
  fi
fi
ENV=/tmp/shrc TERM=xterm setsid cttyhack sh -i </dev/console
cd /
umount /mnt 2>/dev/null
exit 0
`
