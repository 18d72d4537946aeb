# The bare-metal test guest: a virtio-blk driver without an operating system (32-bit protected mode, no paging).
#
# Entered at LOAD with flat segments and interrupts off; nothing else is expected of the machine. Reads its orders from
# PARAMS, drives the disk, counts in RESULTS, reports through DEBUG_PORT, and stops. Both blocks, the failure codes and
# the steps are described in protocol.ts; a test holds the numbers here to those there and to assembly/spec.ts.
# Sections named "2.7.13" are those of VIRTIO 1.2; "rule 13" is a device rule (assembly/CONTRACT.md).
#
# Shape: a batch has `batch` slots. Slot n always uses descriptors 3n (header), 3n+1 (data) and 3n+2 (status), so the
# head of its chain is 3n, and one 32-bit word says which slots are outstanding. put_request fills the next slot, submit
# publishes and kicks, run_batch waits for all of them, and reap checks every returned chain. %ebp is the register
# window throughout. Subroutines may change every other register.
#
# Plain instructions only, and few per byte: where KVM has no hardware below it, its emulator runs supervisor code at
# half a microsecond per instruction and does not know iret in protected mode.

# Guest-physical memory -------------------------------------------------------------------------------------------
.equ LOAD, 0x100000                     # this image
.equ PARAMS, 0x104000                   # parameter block, written by the host
.equ RESULTS, 0x105000                  # result block, read by the host
.equ IDT, 0x106000                      # 48 gates
.equ PRIVATE, 0x107000                  # .bss
.equ STACK_TOP, 0x10c000
.equ DESC, 0x110000                     # descriptor table, up to 1024 entries
.equ AVAIL, 0x114000
.equ USED, 0x118000
.equ HEADERS, 0x11c000                  # 16 bytes per slot
.equ STATUS, 0x120000                   # 4 bytes per slot: the status byte and three guard bytes
.equ ID_BUFFER, 0x120080
.equ DATA, 0x1200c0                     # one buffer per slot, the next one GUARD_BYTES behind its end
.equ GUARD_BYTES, 64

# Parameter block -------------------------------------------------------------------------------------------------
.equ PARAM_MAGIC, 0x00
.equ PARAM_WINDOW, 0x04
.equ PARAM_IRQ, 0x08
.equ PARAM_FLAGS, 0x0c
.equ PARAM_QUEUE_SIZE, 0x10
.equ PARAM_BATCH, 0x14
.equ PARAM_REQUESTS, 0x18
.equ PARAM_DATA_BYTES, 0x1c
.equ PARAM_START_SECTOR, 0x20
.equ PARAM_SEED, 0x24
.equ PARAM_RESETS, 0x28
.equ PARAM_SPIN_LIMIT, 0x2c
.equ PARAM_RESET_LIMIT, 0x30
.equ PARAM_GRACE_READS, 0x34
.equ PARAM_QUIET_READS, 0x38
.equ PARAM_CAPACITY_LOW, 0x3c
.equ PARAM_CAPACITY_HIGH, 0x40
.equ PARAM_SERIAL, 0x44                 # 20 bytes

.equ PARAMS_MAGIC, 0x31505447           # "GTP1"
.equ FLAG_INTERRUPTS, 1
.equ FLAG_EVENT_IDX, 2
.equ FLAG_PROBE, 4

# Result block ----------------------------------------------------------------------------------------------------
.equ RESULT_STATE, 0x00
.equ RESULT_STEP, 0x04
.equ RESULT_FAILURE, 0x08
.equ RESULT_GOT, 0x0c
.equ RESULT_WANT, 0x10
.equ RESULT_REQUESTS, 0x14
.equ RESULT_KICKS, 0x18
.equ RESULT_SUPPRESSED_KICKS, 0x1c
.equ RESULT_INTERRUPTS, 0x20
.equ RESULT_SPURIOUS_INTERRUPTS, 0x24
.equ RESULT_CONFIG_INTERRUPTS, 0x28
.equ RESULT_WAKEUPS, 0x2c
.equ RESULT_POLLS, 0x30
.equ RESULT_MMIO_READS, 0x34
.equ RESULT_MMIO_WRITES, 0x38
.equ RESULT_RESETS, 0x3c
.equ RESULT_RESET_WAITS, 0x40
.equ RESULT_CUT_REQUESTS, 0x44
.equ RESULT_BYTES, 0x48

.equ STATE_RUNNING, 1
.equ STATE_DONE, 2
.equ STATE_FAILED, 3

# Debug port: kind << 24 | value ----------------------------------------------------------------------------------
.equ DEBUG_PORT, 0xf4
.equ REPORT_STEP, 1
.equ REPORT_INTERRUPTS, 2
.equ REPORT_KICKS, 3
.equ REPORT_SUPPRESSED_KICKS, 4
.equ REPORT_DONE, 5                     # value: requests done. The last word of a guest that passed
.equ REPORT_FAILED, 6                   # value: step << 16 | failure. The last word of one that failed

.equ STEP_START, 1
.equ STEP_DEVICE, 2
.equ STEP_FEATURES, 3
.equ STEP_QUEUE, 4
.equ STEP_LIVE, 5
.equ STEP_WRITE, 6
.equ STEP_READ, 7
.equ STEP_RESET, 8
.equ STEP_QUIET, 9
.equ STEP_SPECIAL, 10
.equ STEP_PROBE, 11
.equ STEP_END, 12

.equ FAIL_PARAMETERS, 1
.equ FAIL_EXCEPTION, 2
.equ FAIL_MAGIC, 3
.equ FAIL_VERSION, 4
.equ FAIL_DEVICE_ID, 5
.equ FAIL_NOT_RESET, 6
.equ FAIL_DRIVER, 7
.equ FAIL_NO_VERSION_1, 8
.equ FAIL_NO_FLUSH, 9
.equ FAIL_NO_EVENT_IDX, 10
.equ FAIL_FEATURES_OK, 11
.equ FAIL_GENERATION, 12
.equ FAIL_CAPACITY, 13
.equ FAIL_QUEUE_IN_USE, 14
.equ FAIL_QUEUE_SIZE, 15
.equ FAIL_QUEUE_READY, 16
.equ FAIL_DRIVER_OK, 17
.equ FAIL_USED_AHEAD, 18
.equ FAIL_USED_ID, 19
.equ FAIL_USED_LENGTH, 20
.equ FAIL_STATUS_NOT_WRITTEN, 21
.equ FAIL_STATUS_WRONG, 22
.equ FAIL_STATUS_OVERRUN, 23
.equ FAIL_DATA, 24
.equ FAIL_DATA_OVERRUN, 25
.equ FAIL_SERIAL, 26
.equ FAIL_POLL_TIMEOUT, 27
.equ FAIL_NEEDS_RESET, 28
.equ FAIL_NO_CAUSE, 29
.equ FAIL_RESET_STATUS, 30
.equ FAIL_RESET_TIMEOUT, 31
.equ FAIL_LATE_WRITE, 32
.equ FAIL_LATE_STATUS, 33
.equ FAIL_LATE_INTERRUPT, 34

# The standard's numbers ------------------------------------------------------------------------------------------
.equ VIRTIO_MMIO_MAGIC_VALUE, 0x000
.equ VIRTIO_MMIO_VERSION, 0x004
.equ VIRTIO_MMIO_DEVICE_ID, 0x008
.equ VIRTIO_MMIO_DEVICE_FEATURES, 0x010
.equ VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0x014
.equ VIRTIO_MMIO_DRIVER_FEATURES, 0x020
.equ VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0x024
.equ VIRTIO_MMIO_QUEUE_SEL, 0x030
.equ VIRTIO_MMIO_QUEUE_SIZE_MAX, 0x034
.equ VIRTIO_MMIO_QUEUE_SIZE, 0x038
.equ VIRTIO_MMIO_QUEUE_READY, 0x044
.equ VIRTIO_MMIO_QUEUE_NOTIFY, 0x050
.equ VIRTIO_MMIO_INTERRUPT_STATUS, 0x060
.equ VIRTIO_MMIO_INTERRUPT_ACK, 0x064
.equ VIRTIO_MMIO_STATUS, 0x070
.equ VIRTIO_MMIO_QUEUE_DESC_LOW, 0x080
.equ VIRTIO_MMIO_QUEUE_DESC_HIGH, 0x084
.equ VIRTIO_MMIO_QUEUE_DRIVER_LOW, 0x090
.equ VIRTIO_MMIO_QUEUE_DRIVER_HIGH, 0x094
.equ VIRTIO_MMIO_QUEUE_DEVICE_LOW, 0x0a0
.equ VIRTIO_MMIO_QUEUE_DEVICE_HIGH, 0x0a4
.equ VIRTIO_MMIO_CONFIG_GENERATION, 0x0fc
.equ VIRTIO_MMIO_CONFIG, 0x100
.equ VIRTIO_MMIO_MAGIC, 0x74726976
.equ VIRTIO_MMIO_VERSION_2, 2
.equ VIRTIO_ID_BLOCK, 2
.equ VIRTIO_MMIO_INT_CONFIG, 2
.equ VIRTIO_CONFIG_S_ACKNOWLEDGE, 1
.equ VIRTIO_CONFIG_S_DRIVER, 2
.equ VIRTIO_CONFIG_S_DRIVER_OK, 4
.equ VIRTIO_CONFIG_S_FEATURES_OK, 8
.equ VIRTIO_CONFIG_S_NEEDS_RESET, 0x40
.equ VIRTIO_BLK_F_FLUSH, 9
.equ VIRTIO_F_EVENT_IDX, 29
.equ VIRTQ_DESC_F_NEXT, 1
.equ VIRTQ_DESC_F_WRITE, 2
.equ VIRTQ_AVAIL_F_NO_INTERRUPT, 1
.equ VIRTQ_USED_F_NO_NOTIFY, 1
.equ VIRTIO_BLK_T_IN, 0
.equ VIRTIO_BLK_T_OUT, 1
.equ VIRTIO_BLK_T_FLUSH, 4
.equ VIRTIO_BLK_T_GET_ID, 8
.equ VIRTIO_BLK_ID_BYTES, 20
.equ VIRTIO_BLK_S_OK, 0
.equ VIRTIO_BLK_S_IOERR, 1
.equ VIRTIO_BLK_S_UNSUPP, 2

# Status on the way up (3.1.1)
.equ DRIVING, VIRTIO_CONFIG_S_ACKNOWLEDGE + VIRTIO_CONFIG_S_DRIVER
.equ NEGOTIATED, DRIVING + VIRTIO_CONFIG_S_FEATURES_OK
.equ LIVE, NEGOTIATED + VIRTIO_CONFIG_S_DRIVER_OK

# Our own ---------------------------------------------------------------------------------------------------------
.equ PATTERN_STEP, 0x9e3779b1           # dword i of the disk holds seed + i * PATTERN_STEP
.equ FILL, 0xcccccccc                   # in buffers before the device fills them
.equ STATUS_FILL, 0xaaaaaaaa
.equ SCRUB, 0x5c5c5c5c                  # in all the device wrote, after a reset
.equ BATCH_MAX, 32
.equ DATA_BYTES_MAX, 4096
.equ GENERATION_TRIES, 1000
.equ UNKNOWN_TYPE, 99
.equ CODE, 0x08                         # selectors of the table at the end
.equ FLAT, 0x10
.equ PIC1, 0x20
.equ PIC2, 0xa0
.equ PIC_BASE, 0x20                     # vectors 0x20..0x2f
.equ VECTORS, 48

# eax = a register of the window.
.macro rd register
    movl    \register(%ebp), %eax
    incl    RESULTS + RESULT_MMIO_READS
.endm

# A register of the window = value. Changes eax.
.macro wr register, value
    movl    \value, %eax
    incl    RESULTS + RESULT_MMIO_WRITES
    movl    %eax, \register(%ebp)
.endm

# Fails with the code unless eax is the value. Changes ecx and edx.
.macro expect value, code
    movl    \value, %edx
    movl    $\code, %ecx
    cmpl    %edx, %eax
    jne     fail
.endm

.macro report kind, value
    movl    \value, %eax
    andl    $0xffffff, %eax
    orl     $(\kind << 24), %eax
    outl    %eax, $DEBUG_PORT
.endm

# Steps that recur for every batch are noted in the result block only: a report is an exit.
.macro note step
    movl    $\step, RESULTS + RESULT_STEP
.endm

.macro step step
    note    \step
    report  REPORT_STEP, $\step
.endm

# Orders an earlier store before a later load, which x86 does not.
.macro barrier
    lock orl $0, (%esp)
.endm

# Jumps if the flag was not ordered by the host.
.macro unless flag, target
    testl   $\flag, PARAMS + PARAM_FLAGS
    jz      \target
.endm

# Start -----------------------------------------------------------------------------------------------------------
.text
.globl _start
_start:
    cli
    cld
    movl    $STACK_TOP, %esp
    lgdt    gdt_pointer
    pushl   $CODE                       # iret will load this selector from our table
    pushl   $1f
    lret
1:  movl    $FLAT, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    xorl    %eax, %eax
    movl    $RESULTS, %edi
    movl    $(RESULT_BYTES / 4), %ecx
    rep stosl
    movl    $private, %edi
    movl    $(private_end - private) / 4, %ecx
    rep stosl
    movl    $STATE_RUNNING, RESULTS + RESULT_STATE
    movl    PARAMS + PARAM_WINDOW, %ebp
    step    STEP_START
    call    check_parameters
    unless  FLAG_INTERRUPTS, 2f
    call    set_up_interrupts
2:  call    bring_up
    movl    PARAMS + PARAM_START_SECTOR, %eax
    movl    %eax, sector
    unless  FLAG_PROBE, rounds

# Probe: `requests` reads of the same sectors, one kick and one wait each.
    step    STEP_PROBE
    movl    PARAMS + PARAM_REQUESTS, %eax
    movl    %eax, left
1:  cmpl    $0, left
    je      end
    movl    sector, %edx
    call    put_read
    call    run_batch
    decl    left
    jmp     1b

# Rounds: a batch of writes, a reset if one is ordered, a batch of reads of the same sectors; then the next sectors.
rounds:
    movl    PARAMS + PARAM_REQUESTS, %eax
    shrl    $1, %eax
    movl    %eax, left
    movl    PARAMS + PARAM_RESETS, %eax
    movl    %eax, resets_left
round:
    movl    left, %eax
    testl   %eax, %eax
    jz      special
    cmpl    PARAMS + PARAM_BATCH, %eax
    jbe     1f
    movl    PARAMS + PARAM_BATCH, %eax
1:  movl    %eax, in_round
    note    STEP_WRITE
    movl    $put_write, %esi
    call    put_round
    call    run_batch
    cmpl    $0, resets_left
    je      2f
    decl    resets_left
    call    cut_short
2:  note    STEP_READ
    movl    $put_read, %esi
    call    put_round
    call    run_batch
    call    check_round                 # leaves in edx the first sector of the next round
    movl    %edx, sector
    movl    in_round, %eax
    subl    %eax, left
    jmp     round

# Special requests, in batches as the rest: what is no plain read or write, and what must fail (rule 13: lengths).
special:
    step    STEP_SPECIAL
    movl    $VIRTIO_BLK_T_FLUSH, %eax
    xorl    %ecx, %ecx
    movl    %ecx, sector
    movl    $VIRTIO_BLK_S_OK, %esi
    movl    $1, %edi
    call    put_special
    movl    $ID_BUFFER, %edi            # the serial, in a buffer of exactly its length
    movl    %edi, data_address
    movl    $(VIRTIO_BLK_ID_BYTES / 4 + 1), %ecx
    movl    $FILL, %eax
    rep stosl
    movl    $VIRTIO_BLK_T_GET_ID, %eax
    movl    $VIRTIO_BLK_ID_BYTES, %ecx
    movl    $VIRTQ_DESC_F_WRITE, %ebx
    movl    $VIRTIO_BLK_S_OK, %esi
    movl    $(VIRTIO_BLK_ID_BYTES + 1), %edi
    call    put_special
    movl    $DATA, data_address         # not whole sectors: request fault d
    movl    $VIRTIO_BLK_T_OUT, %eax
    movl    $513, %ecx
    xorl    %ebx, %ebx
    movl    $VIRTIO_BLK_S_IOERR, %esi
    movl    $1, %edi
    call    put_special
    movl    capacity_high, %eax         # the sector behind the last: request fault f
    movl    %eax, sector_high
    movl    capacity_low, %eax
    movl    %eax, sector
    movl    $VIRTIO_BLK_T_IN, %eax
    movl    $512, %ecx
    movl    $VIRTQ_DESC_F_WRITE, %ebx
    movl    $VIRTIO_BLK_S_IOERR, %esi
    xorl    %edi, %edi
    call    put_special
    movl    $UNKNOWN_TYPE, %eax
    xorl    %ecx, %ecx
    movl    $VIRTIO_BLK_S_UNSUPP, %esi
    movl    $1, %edi
    call    put_special
    cmpl    $0, in_batch
    je      1f
    call    run_batch
1:  xorl    %ebx, %ebx
2:  movl    ID_BUFFER(%ebx), %eax       # rule 14: the serial, padded with NUL
    expect  PARAMS+PARAM_SERIAL(%ebx), FAIL_SERIAL
    addl    $4, %ebx
    cmpl    $VIRTIO_BLK_ID_BYTES, %ebx
    jb      2b
    movl    ID_BUFFER(%ebx), %eax
    expect  $FILL, FAIL_DATA_OVERRUN

end:
    cli
    step    STEP_END
    unless  FLAG_INTERRUPTS, 1f
    movl    RESULTS + RESULT_INTERRUPTS, %eax
    movl    RESULTS + RESULT_SPURIOUS_INTERRUPTS, %edx
    movl    $FAIL_NO_CAUSE, %ecx        # interrupts came, InterruptStatus said every time that there was no reason
    cmpl    %edx, %eax
    jbe     fail
1:  movl    $STATE_DONE, RESULTS + RESULT_STATE
    report  REPORT_INTERRUPTS, RESULTS+RESULT_INTERRUPTS
    report  REPORT_KICKS, RESULTS+RESULT_KICKS
    report  REPORT_SUPPRESSED_KICKS, RESULTS+RESULT_SUPPRESSED_KICKS
    report  REPORT_DONE, RESULTS+RESULT_REQUESTS
stop:
    cli
    hlt
    jmp     stop

# ecx = failure, eax = what was there, edx = what should have been. Does not return.
fail:
    cli
    movl    %ecx, RESULTS + RESULT_FAILURE
    movl    %eax, RESULTS + RESULT_GOT
    movl    %edx, RESULTS + RESULT_WANT
    movl    $STATE_FAILED, RESULTS + RESULT_STATE
    movl    RESULTS + RESULT_STEP, %edx
    shll    $16, %edx
    orl     %edx, %ecx
    report  REPORT_FAILED, %ecx
    jmp     stop

# The host must have written a block that we understand and whose batch fits ring and buffers.
check_parameters:
    movl    PARAMS + PARAM_MAGIC, %eax
    expect  $PARAMS_MAGIC, FAIL_PARAMETERS
    movl    PARAMS + PARAM_BATCH, %eax
    movl    $BATCH_MAX, %edx
    decl    %eax                        # 0 becomes too large
    cmpl    %edx, %eax
    jae     fail
    leal    3(%eax,%eax,2), %eax        # three descriptors per slot
    movl    PARAMS + PARAM_QUEUE_SIZE, %edx
    cmpl    %edx, %eax
    ja      fail
    movl    PARAMS + PARAM_DATA_BYTES, %eax
    movl    $DATA_BYTES_MAX, %edx
    cmpl    %edx, %eax
    ja      fail
    ret

# Device initialization (3.1.1) -----------------------------------------------------------------------------------
bring_up:
    step    STEP_DEVICE
    rd      VIRTIO_MMIO_MAGIC_VALUE
    expect  $VIRTIO_MMIO_MAGIC, FAIL_MAGIC
    rd      VIRTIO_MMIO_VERSION
    expect  $VIRTIO_MMIO_VERSION_2, FAIL_VERSION
    rd      VIRTIO_MMIO_DEVICE_ID
    expect  $VIRTIO_ID_BLOCK, FAIL_DEVICE_ID
    wr      VIRTIO_MMIO_STATUS, $0
    rd      VIRTIO_MMIO_STATUS
    expect  $0, FAIL_NOT_RESET
    wr      VIRTIO_MMIO_STATUS, $VIRTIO_CONFIG_S_ACKNOWLEDGE
    wr      VIRTIO_MMIO_STATUS, $DRIVING
    rd      VIRTIO_MMIO_STATUS
    expect  $DRIVING, FAIL_DRIVER

    step    STEP_FEATURES
    wr      VIRTIO_MMIO_DEVICE_FEATURES_SEL, $1
    rd      VIRTIO_MMIO_DEVICE_FEATURES
    andl    $1, %eax                    # VERSION_1 is bit 32
    expect  $1, FAIL_NO_VERSION_1
    wr      VIRTIO_MMIO_DEVICE_FEATURES_SEL, $0
    rd      VIRTIO_MMIO_DEVICE_FEATURES
    movl    %eax, %ebx
    movl    $(1 << VIRTIO_BLK_F_FLUSH), %esi
    andl    %esi, %eax
    expect  %esi, FAIL_NO_FLUSH
    unless  FLAG_EVENT_IDX, 1f
    movl    %ebx, %eax
    andl    $(1 << VIRTIO_F_EVENT_IDX), %eax
    expect  $(1 << VIRTIO_F_EVENT_IDX), FAIL_NO_EVENT_IDX
    orl     %eax, %esi
1:  wr      VIRTIO_MMIO_DRIVER_FEATURES_SEL, $1
    wr      VIRTIO_MMIO_DRIVER_FEATURES, $1
    wr      VIRTIO_MMIO_DRIVER_FEATURES_SEL, $0
    wr      VIRTIO_MMIO_DRIVER_FEATURES, %esi
    wr      VIRTIO_MMIO_STATUS, $NEGOTIATED
    rd      VIRTIO_MMIO_STATUS
    expect  $NEGOTIATED, FAIL_FEATURES_OK

    movl    $GENERATION_TRIES, %esi     # 2.5.3: both halves of the capacity from one generation
2:  rd      VIRTIO_MMIO_CONFIG_GENERATION
    movl    %eax, %ebx
    rd      VIRTIO_MMIO_CONFIG
    movl    %eax, capacity_low
    rd      VIRTIO_MMIO_CONFIG+4
    movl    %eax, capacity_high
    rd      VIRTIO_MMIO_CONFIG_GENERATION
    cmpl    %ebx, %eax
    je      3f
    decl    %esi
    jnz     2b
    expect  %ebx, FAIL_GENERATION
3:  movl    capacity_low, %eax
    expect  PARAMS+PARAM_CAPACITY_LOW, FAIL_CAPACITY
    movl    capacity_high, %eax
    expect  PARAMS+PARAM_CAPACITY_HIGH, FAIL_CAPACITY

    step    STEP_QUEUE
    wr      VIRTIO_MMIO_QUEUE_SEL, $0
    rd      VIRTIO_MMIO_QUEUE_READY
    expect  $0, FAIL_QUEUE_IN_USE
    rd      VIRTIO_MMIO_QUEUE_SIZE_MAX
    movl    PARAMS + PARAM_QUEUE_SIZE, %edx
    movl    $FAIL_QUEUE_SIZE, %ecx
    cmpl    %edx, %eax
    jb      fail
    call    clear_rings
    wr      VIRTIO_MMIO_QUEUE_SIZE, PARAMS+PARAM_QUEUE_SIZE
    wr      VIRTIO_MMIO_QUEUE_DESC_LOW, $DESC
    wr      VIRTIO_MMIO_QUEUE_DESC_HIGH, $0
    wr      VIRTIO_MMIO_QUEUE_DRIVER_LOW, $AVAIL
    wr      VIRTIO_MMIO_QUEUE_DRIVER_HIGH, $0
    wr      VIRTIO_MMIO_QUEUE_DEVICE_LOW, $USED
    wr      VIRTIO_MMIO_QUEUE_DEVICE_HIGH, $0
    wr      VIRTIO_MMIO_QUEUE_READY, $1
    rd      VIRTIO_MMIO_QUEUE_READY
    expect  $1, FAIL_QUEUE_READY
    wr      VIRTIO_MMIO_STATUS, $LIVE
    rd      VIRTIO_MMIO_STATUS
    expect  $LIVE, FAIL_DRIVER_OK
    step    STEP_LIVE
    unless  FLAG_INTERRUPTS, 4f
    sti
4:  ret

# Empty rings, and our side of them: no interrupts wanted unless ordered (2.7.7).
clear_rings:
    xorl    %eax, %eax
    movl    %eax, outstanding
    movl    %eax, outstanding_count
    movl    %eax, in_batch
    movw    %ax, avail_idx
    movw    %ax, kicked_idx
    movw    %ax, used_idx
    movl    %eax, AVAIL                 # flags and idx
    movl    %eax, USED
    movl    PARAMS + PARAM_QUEUE_SIZE, %ecx
    leal    AVAIL+4(,%ecx,2), %edx
    movl    %edx, used_event_at
    movw    %ax, (%edx)
    leal    USED+4(,%ecx,8), %edx
    movl    %edx, avail_event_at
    movw    %ax, (%edx)
    decl    %ecx
    movl    %ecx, size_mask
    unless  FLAG_EVENT_IDX, 1f
    jmp     set_used_event
1:  testl   $FLAG_INTERRUPTS, PARAMS + PARAM_FLAGS
    jnz     2f
    movw    $VIRTQ_AVAIL_F_NO_INTERRUPT, AVAIL
2:  ret

# Requests --------------------------------------------------------------------------------------------------------

# Calls esi (put_write or put_read) for each request of the round.
put_round:
    movl    sector, %edx
1:  pushl   %edx
    pushl   %esi
    call    *%esi
    popl    %esi
    popl    %edx
    call    next_sector
    movl    in_batch, %eax
    cmpl    in_round, %eax
    jb      1b
    ret

# edx += the sectors of one request.
next_sector:
    movl    PARAMS + PARAM_DATA_BYTES, %eax
    shrl    $9, %eax
    addl    %eax, %edx
    ret

# edi = where the data of the next slot is.
next_buffer:
    movl    PARAMS + PARAM_DATA_BYTES, %edi
    addl    $GUARD_BYTES, %edi
    imull   in_batch, %edi
    addl    $DATA, %edi
    movl    %edi, data_address
    ret

# eax = first dword of the pattern of sector edx, ecx = dwords of a request.
pattern:
    movl    %edx, %eax
    shll    $7, %eax
    imull   $PATTERN_STEP, %eax, %eax
    addl    PARAMS + PARAM_SEED, %eax
    movl    PARAMS + PARAM_DATA_BYTES, %ecx
    shrl    $2, %ecx
    ret

# Adds a write of the pattern at sector edx to the batch.
put_write:
    call    next_buffer
    call    pattern
1:  stosl
    addl    $PATTERN_STEP, %eax
    loop    1b
    movl    $VIRTIO_BLK_T_OUT, %eax
    movl    PARAMS + PARAM_DATA_BYTES, %ecx
    xorl    %ebx, %ebx
    movl    $VIRTIO_BLK_S_OK, %esi
    movl    $1, %edi
    jmp     put_request

# Adds a read of sector edx to the batch. The buffer and the dword behind it hold FILL.
put_read:
    call    next_buffer
    movl    PARAMS + PARAM_DATA_BYTES, %ecx
    shrl    $2, %ecx
    incl    %ecx
    movl    $FILL, %eax
    rep stosl
    movl    $VIRTIO_BLK_T_IN, %eax
    movl    PARAMS + PARAM_DATA_BYTES, %ecx
    movl    $VIRTQ_DESC_F_WRITE, %ebx
    movl    $VIRTIO_BLK_S_OK, %esi
    leal    1(%ecx), %edi
    jmp     put_request

# Adds a request for `sector` to the batch, and runs the batch if it is full.
put_special:
    movl    sector, %edx
    call    put_request
    movl    in_batch, %eax
    cmpl    PARAMS + PARAM_BATCH, %eax
    jae     run_batch
    ret

# Adds a request to the batch. eax = type, edx = sector (above: sector_high), ecx = data bytes at data_address,
# ebx = flags of the data descriptor, esi = status and edi = used length to expect.
put_request:
    pushl   %ebp
    movl    in_batch, %ebp
    incl    in_batch
    btsl    %ebp, outstanding
    incl    outstanding_count
    movl    %esi, want_status(,%ebp,4)
    movl    %edi, want_length(,%ebp,4)
    movl    $STATUS_FILL, STATUS(,%ebp,4)
    movl    %ebp, %edi                  # the header (5.2.6)
    shll    $4, %edi
    addl    $HEADERS, %edi
    movl    %eax, 0(%edi)
    movl    $0, 4(%edi)
    movl    %edx, 8(%edi)
    movl    sector_high, %eax
    movl    %eax, 12(%edi)
    leal    (%ebp,%ebp,2), %eax         # the chain (2.7.5)
    movl    %eax, %esi
    shll    $4, %esi
    addl    $DESC, %esi
    movl    %edi, 0(%esi)
    movl    $16, 8(%esi)
    movw    $VIRTQ_DESC_F_NEXT, 12(%esi)
    leal    1(%eax), %edx
    testl   %ecx, %ecx
    jnz     1f
    incl    %edx                        # no data: from the header straight to the status
1:  movw    %dx, 14(%esi)
    movl    data_address, %edx
    movl    %edx, 16(%esi)
    movl    %ecx, 24(%esi)
    orl     $VIRTQ_DESC_F_NEXT, %ebx
    movw    %bx, 28(%esi)
    leal    2(%eax), %edx
    movw    %dx, 30(%esi)
    leal    STATUS(,%ebp,4), %edx
    movl    %edx, 32(%esi)
    movl    $1, 40(%esi)
    movw    $VIRTQ_DESC_F_WRITE, 44(%esi)
    movzwl  avail_idx, %edx             # its place in the ring; the device sees it when submit moves avail.idx
    incw    avail_idx
    andl    size_mask, %edx
    movw    %ax, AVAIL+4(,%edx,2)
    popl    %ebp
    ret

# Publishes the batch and kicks if the device wants to be (2.7.13, 2.7.7, 2.7.10).
submit:
    movl    RESULTS + RESULT_INTERRUPTS, %eax
    movl    %eax, interrupts_before
    movzwl  avail_idx, %ebx             # new
    movzwl  kicked_idx, %esi            # old
    movw    %bx, kicked_idx
    movw    %bx, AVAIL + 2              # x86 keeps stores in order: what it publishes is visible before it
    barrier                             # 2.7.13.4.1
    unless  FLAG_EVENT_IDX, 1f
    movl    avail_event_at, %edx
    movl    %ebx, %eax
    subw    (%edx), %ax
    decl    %eax
    subl    %esi, %ebx
    cmpw    %bx, %ax                    # kick iff new - avail_event - 1 < new - old
    jae     2f
    jmp     kick
1:  testw   $VIRTQ_USED_F_NO_NOTIFY, USED
    jnz     2f
kick:
    incl    RESULTS + RESULT_KICKS
    wr      VIRTIO_MMIO_QUEUE_NOTIFY, $0
    ret
2:  incl    RESULTS + RESULT_SUPPRESSED_KICKS
    ret

# Submits the batch and returns when every request of it is back and checked.
run_batch:
    call    submit
wait:
    cmpl    $0, outstanding
    je      all_back
    unless  FLAG_INTERRUPTS, poll
sleep:                                  # between the look at used.idx and hlt no interrupt can come
    cli
    movw    USED + 2, %ax
    cmpw    used_idx, %ax
    jne     awake
    sti                                 # takes effect after the next instruction
    hlt
    incl    RESULTS + RESULT_WAKEUPS
    jmp     sleep
awake:
    sti
    call    reap
    jmp     wait
poll:
    movl    PARAMS + PARAM_SPIN_LIMIT, %ebx
1:  movw    USED + 2, %ax
    cmpw    used_idx, %ax
    jne     2f
    incl    RESULTS + RESULT_POLLS
    pause
    decl    %ebx
    jnz     1b
    call    check_alive
    movl    outstanding, %eax
    expect  $0, FAIL_POLL_TIMEOUT
2:  call    reap
    jmp     wait
# In interrupt mode one interrupt at least must have come for this batch: its first completion asked for one. Where it
# has not, we sleep until it has, and if it is lost the host's time limit ends us.
all_back:
    movl    $0, in_batch
    unless  FLAG_INTERRUPTS, 2f
1:  cli
    movl    RESULTS + RESULT_INTERRUPTS, %eax
    cmpl    interrupts_before, %eax
    jne     3f
    sti
    hlt
    incl    RESULTS + RESULT_WAKEUPS
    jmp     1b
3:  sti
2:  ret

# Takes what the device has returned, and checks it: used.idx, id, length (rule 13), status byte.
reap:
    movzwl  USED + 2, %eax
    subw    used_idx, %ax
    jz      set_used_event
    movl    outstanding_count, %edx
    movl    $FAIL_USED_AHEAD, %ecx
    cmpl    %edx, %eax
    ja      fail
    movzwl  used_idx, %ebx
    andl    size_mask, %ebx
    movl    USED+4(,%ebx,8), %esi       # id = 3 x slot
    movl    %esi, %eax
    xorl    %edx, %edx
    movl    $3, %ecx
    divl    %ecx
    movl    %eax, %edi
    movl    %esi, %eax
    movl    $FAIL_USED_ID, %ecx
    testl   %edx, %edx
    movl    outstanding, %edx
    jnz     fail
    cmpl    $BATCH_MAX, %edi
    jae     fail
    btrl    %edi, outstanding
    jnc     fail
    movl    USED+8(,%ebx,8), %eax
    movl    want_length(,%edi,4), %edx
    movl    $FAIL_USED_LENGTH, %ecx
    cmpl    %edx, %eax
    jne     fail
    movl    STATUS(,%edi,4), %eax
    movl    want_status(,%edi,4), %edx
    movl    $FAIL_STATUS_NOT_WRITTEN, %ecx
    cmpl    $STATUS_FILL, %eax
    je      fail
    movl    $FAIL_STATUS_WRONG, %ecx
    cmpb    %dl, %al
    jne     fail
    movb    $(STATUS_FILL & 0xff), %al
    expect  $STATUS_FILL, FAIL_STATUS_OVERRUN
    incw    used_idx
    decl    outstanding_count
    incl    RESULTS + RESULT_REQUESTS
    jmp     reap

# With EVENT_IDX: asks for an interrupt at the next completion, or for none (parked behind what was taken). The barrier
# is for the caller, who looks at used.idx once more: what was returned before this was seen comes without interrupt.
set_used_event:
    unless  FLAG_EVENT_IDX, 2f
    movw    used_idx, %ax
    testl   $FLAG_INTERRUPTS, PARAMS + PARAM_FLAGS
    jnz     1f
    decw    %ax
1:  movl    used_event_at, %edx
    movw    %ax, (%edx)
    barrier
2:  ret

# Fails if the device says that it needs a reset (rule 7).
check_alive:
    rd      VIRTIO_MMIO_STATUS
    movl    $LIVE, %edx
    movl    $FAIL_NEEDS_RESET, %ecx
    testl   $VIRTIO_CONFIG_S_NEEDS_RESET, %eax
    jnz     fail
    ret

# Compares every byte the round has read, and that the device stopped there. edx = the sector behind the round.
check_round:
    movl    sector, %edx
    movl    $DATA, %edi
    movl    in_round, %esi
1:  call    pattern
2:  scasl
    jne     3f
    addl    $PATTERN_STEP, %eax
    loop    2b
    movl    (%edi), %eax
    cmpl    $FILL, %eax
    jne     4f
    call    next_sector
    addl    $GUARD_BYTES, %edi
    decl    %esi
    jnz     1b
    ret
3:  movl    %eax, %edx
    movl    -4(%edi), %eax
    movl    $FAIL_DATA, %ecx
    jmp     fail
4:  movl    $FILL, %edx
    movl    $FAIL_DATA_OVERRUN, %ecx
    jmp     fail

# Reset in the middle of a batch (rule 6) -------------------------------------------------------------------------

# Submits a batch of reads and resets the device at once. Afterwards no byte of ours may change and no interrupt come;
# then the device is brought up anew. What it did return before the reset is checked as ever.
cut_short:
    step    STEP_RESET
    incl    RESULTS + RESULT_RESETS
    movl    $put_read, %esi
    call    put_round
    call    submit
    wr      VIRTIO_MMIO_STATUS, $0
    movl    PARAMS + PARAM_RESET_LIMIT, %ebx
1:  rd      VIRTIO_MMIO_STATUS
    testl   %eax, %eax
    jz      2f
    expect  $VIRTIO_CONFIG_S_NEEDS_RESET, FAIL_RESET_STATUS
    incl    RESULTS + RESULT_RESET_WAITS
    decl    %ebx
    jnz     1b
    expect  $0, FAIL_RESET_TIMEOUT
2:  call    reap
    movl    outstanding_count, %eax
    addl    %eax, RESULTS + RESULT_CUT_REQUESTS
    call    used_range
    rep stosl
    call    buffer_range
    rep stosl
    note    STEP_QUIET
    movl    PARAMS + PARAM_GRACE_READS, %ebx
    call    quiet                       # an interrupt sent before the reset may still be on its way through the kernel
    pushl   RESULTS + RESULT_INTERRUPTS
    movl    PARAMS + PARAM_QUIET_READS, %ebx
    call    quiet
    movl    RESULTS + RESULT_INTERRUPTS, %eax
    popl    %esi
    expect  %esi, FAIL_LATE_INTERRUPT
    call    used_range
    repe scasl
    jne     3f
    call    buffer_range
    repe scasl
    je      bring_up
3:  leal    -4(%edi), %edx              # here "want" is where it is
    movl    (%edx), %eax
    movl    $FAIL_LATE_WRITE, %ecx
    jmp     fail

# edi, ecx = first byte and dwords of what the device may write, eax = SCRUB: first the used ring, then the statuses
# and buffers of a batch.
used_range:
    movl    $USED, %edi
    movl    PARAMS + PARAM_QUEUE_SIZE, %ecx
    leal    2(,%ecx,2), %ecx
    movl    $SCRUB, %eax
    ret
buffer_range:
    movl    PARAMS + PARAM_DATA_BYTES, %ecx
    addl    $GUARD_BYTES, %ecx
    imull   PARAMS + PARAM_BATCH, %ecx
    addl    $(DATA - STATUS), %ecx
    shrl    $2, %ecx
    movl    $STATUS, %edi
    movl    $SCRUB, %eax
    ret

# Lets time pass with ebx reads of InterruptStatus, which stays 0 after a reset.
quiet:
    rd      VIRTIO_MMIO_INTERRUPT_STATUS
    expect  $0, FAIL_LATE_STATUS
    decl    %ebx
    jnz     quiet
    ret

# Interrupts ------------------------------------------------------------------------------------------------------

# Gates for all vectors, the disk's among them; both 8259s at PIC_BASE with every line masked but the disk's.
set_up_interrupts:
    movl    $stubs, %eax
    xorl    %ebx, %ebx
1:  call    set_gate
    addl    $8, %eax
    incl    %ebx
    cmpl    $VECTORS, %ebx
    jb      1b
    movl    $interrupt, %eax
    movl    PARAMS + PARAM_IRQ, %ebx
    addl    $PIC_BASE, %ebx
    call    set_gate
    lidt    idt_pointer
    movb    $0x11, %al                  # ICW1: edge triggered, cascade, ICW4 follows
    outb    %al, $PIC1
    outb    %al, $PIC2
    movb    $PIC_BASE, %al              # ICW2: vectors
    outb    %al, $(PIC1 + 1)
    movb    $(PIC_BASE + 8), %al
    outb    %al, $(PIC2 + 1)
    movb    $4, %al                     # ICW3: the second chip is at line 2 of the first
    outb    %al, $(PIC1 + 1)
    movb    $2, %al
    outb    %al, $(PIC2 + 1)
    movb    $1, %al                     # ICW4: 8086 mode
    outb    %al, $(PIC1 + 1)
    outb    %al, $(PIC2 + 1)
    movl    PARAMS + PARAM_IRQ, %ecx    # masks: a line of the second chip needs line 2 as well
    movl    $1, %eax
    shll    %cl, %eax
    cmpl    $8, %ecx
    jb      2f
    orl     $4, %eax
2:  notl    %eax
    outb    %al, $(PIC1 + 1)
    movb    %ah, %al
    outb    %al, $(PIC2 + 1)
    ret

# Vector ebx enters at eax, with interrupts off.
set_gate:
    movl    %eax, %edx
    andl    $0xffff, %edx
    orl     $(CODE << 16), %edx
    movl    %edx, IDT(,%ebx,8)
    movl    %eax, %edx
    andl    $0xffff0000, %edx
    orl     $0x8e00, %edx               # present, 32-bit interrupt gate
    movl    %edx, IDT+4(,%ebx,8)
    ret

# The disk's interrupt: read the cause, acknowledge it at the device (4.2.2), then at the 8259s. No cause is no mistake:
# two signals may be acknowledged by one handler.
interrupt:
    pushal
    incl    RESULTS + RESULT_INTERRUPTS
    rd      VIRTIO_MMIO_INTERRUPT_STATUS
    movl    %eax, %ebx
    testl   %ebx, %ebx
    jnz     1f
    incl    RESULTS + RESULT_SPURIOUS_INTERRUPTS
    jmp     2f
1:  wr      VIRTIO_MMIO_INTERRUPT_ACK, %ebx
    testl   $VIRTIO_MMIO_INT_CONFIG, %ebx
    jz      2f
    incl    RESULTS + RESULT_CONFIG_INTERRUPTS
    call    check_alive
2:  movb    $0x20, %al                  # end of interrupt
    cmpl    $8, PARAMS + PARAM_IRQ
    jb      3f
    outb    %al, $PIC2
3:  outb    %al, $PIC1
    popal
    pushl   8(%esp)                     # iret in two steps, see the top
    popfl
    lret    $4

# Any other vector: exceptions and lines that are masked.
unexpected:
    popl    %eax
    movl    (%esp), %edx                # here "want" is the address, or the error code if the exception has one
    movl    $FAIL_EXCEPTION, %ecx
    jmp     fail

.balign 8
stubs:
.set vector, 0
.rept VECTORS
    .balign 8
    pushl   $vector
    jmp     unexpected
    .set vector, vector + 1
.endr

.balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff          # CODE: flat, accessed
    .quad   0x00cf93000000ffff          # FLAT: data, flat, accessed
gdt_pointer:
    .word   gdt_pointer - gdt - 1
    .long   gdt
idt_pointer:
    .word   VECTORS * 8 - 1
    .long   IDT

# Private memory, zeroed at the start -----------------------------------------------------------------------------
.bss
private:
sector:            .long 0              # first sector of the round
sector_high:       .long 0
left:              .long 0              # write-and-read pairs (probe: reads) still to do
in_round:          .long 0              # pairs in this round
resets_left:       .long 0
capacity_low:      .long 0
capacity_high:     .long 0
data_address:      .long 0
in_batch:          .long 0              # slots filled
outstanding:       .long 0              # one bit per slot
outstanding_count: .long 0
interrupts_before: .long 0              # the submit
size_mask:         .long 0
used_event_at:     .long 0
avail_event_at:    .long 0
avail_idx:         .word 0              # free-running; the ring has it after submit
kicked_idx:        .word 0              # avail_idx at the last submit
used_idx:          .word 0              # what was taken
                   .word 0
want_status:       .fill BATCH_MAX, 4, 0
want_length:       .fill BATCH_MAX, 4, 0
private_end:
