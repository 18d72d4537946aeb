/*
 * A host for the engine in C: memory, the register window, one drain, a disk of 64 sectors; and a guest's driver that
 * sends it a read, a write, a request whose buffer leaves guest RAM, and a ring that is broken. assembly/ABI.md is all
 * that is used of this project. Prints what the driver sees; c-host.test.ts knows what the standard promises. The two
 * runtimes that it runs on are in wasm2c.c and interp.cc. One thread, a little-endian machine, no error handling of a
 * real VMM.
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"  /* made by wasm2c: the prototypes of the exports */
#include "runtime.h"

#define CALL(name, ...) Z_engineZ_##name(&engine, __VA_ARGS__)

/* From assembly/ABI.md. */
#define ABI_VERSION 3
#define STATE_FAULT 116
#define STATE_DEVICE_FEATURES 40
#define STATE_CAPACITY_SECTORS 48
#define STATE_QUEUES 56
#define STATE_QUEUE_SIZE_MAX 60
#define STATE_SEG_MAX 64
#define STATE_SIZE_MAX 68
#define STATE_BLOCK_SIZE 72
#define STATE_REGIONS 100
#define STATE_SLOT_BYTES 120
#define STATE_REGION_TABLE 528
#define REGION_GPA 0
#define REGION_SIZE 8
#define REGION_PTR 16
#define STATE_QUEUE_TABLE 720
#define QUEUE_PLANNED 80
#define QUEUE_RECORDS 88
#define QUEUE_BYTES 208
#define REQ_OP 0
#define REQ_SEGMENTS 4
#define REQ_SECTOR_LOW 8
#define REQ_SEGMENT_LIST 56
#define REQ_OP_READ 1
#define REQ_OP_WRITE 2
#define EFFECT_KICK 1
#define EFFECT_DRIVER_OK 4
#define PLAN_MORE 1
#define PLAN_POISONED 3
#define PLAN_DEAD 5
#define COMPLETE_FLUSH 1
#define PUBLISH_INTERRUPT 1
#define PUBLISH_MORE 2

/* Linear memory: guest RAM, which the guest has at 2 GiB, and behind it the state block. */
#define RAM_PTR 0x10000u
#define RAM_BYTES 0x100000u
#define RAM_GPA 0x80000000u
#define STATE (RAM_PTR + RAM_BYTES)
#define LINEAR_BYTES 0x200000u
#define QUEUE_SIZE_MAX 16
#define SEG_MAX 14
#define SECTORS 64

static uint8_t disk[SECTORS * 512];
static int interrupts;

static uint32_t get32(uint32_t ptr) { uint32_t v; memcpy(&v, linear + ptr, 4); return v; }
static uint64_t get64(uint32_t ptr) { uint64_t v; memcpy(&v, linear + ptr, 8); return v; }
static void put16(uint32_t ptr, uint16_t v) { memcpy(linear + ptr, &v, 2); }
static void put32(uint32_t ptr, uint32_t v) { memcpy(linear + ptr, &v, 4); }
static void put64(uint32_t ptr, uint64_t v) { memcpy(linear + ptr, &v, 8); }

/* The host ------------------------------------------------------------------------------------------------ */

static int create(void) {
  if (CALL(stateBytes, 1, QUEUE_SIZE_MAX, SEG_MAX, 1) > LINEAR_BYTES - STATE) return 1;
  put64(STATE + STATE_DEVICE_FEATURES, 1ull << 32); /* VERSION_1 */
  put64(STATE + STATE_CAPACITY_SECTORS, SECTORS);
  put32(STATE + STATE_QUEUES, 1);
  put32(STATE + STATE_QUEUE_SIZE_MAX, QUEUE_SIZE_MAX);
  put32(STATE + STATE_SEG_MAX, SEG_MAX);
  put32(STATE + STATE_SIZE_MAX, 1 << 20);
  put32(STATE + STATE_BLOCK_SIZE, 512);
  put32(STATE + STATE_REGIONS, 1);
  put64(STATE + STATE_REGION_TABLE + REGION_GPA, RAM_GPA);
  put64(STATE + STATE_REGION_TABLE + REGION_SIZE, RAM_BYTES);
  put32(STATE + STATE_REGION_TABLE + REGION_PTR, RAM_PTR);
  return (int)CALL(init, STATE);
}

/* One request: bytes moved, or -1. A real host gives the segments to preadv or pwritev. */
static double carry_out(uint32_t record) {
  uint32_t op = get32(record + REQ_OP), done = 0;
  if (op != REQ_OP_READ && op != REQ_OP_WRITE) return 0; /* a flush, of a disk that is memory */
  uint8_t *at = disk + 512 * get64(record + REQ_SECTOR_LOW);
  for (uint32_t i = 0; i < get32(record + REQ_SEGMENTS); i++) {
    uint32_t ptr = get32(record + REQ_SEGMENT_LIST + 8 * i), len = get32(record + REQ_SEGMENT_LIST + 8 * i + 4);
    if (ptr < RAM_PTR || len > RAM_BYTES || ptr - RAM_PTR > RAM_BYTES - len) return -1; /* trust nobody */
    if (op == REQ_OP_READ) memcpy(linear + ptr, at + done, len);
    else memcpy(at + done, linear + ptr, len);
    done += len;
  }
  return done;
}

static void drain(uint32_t queue) {
  uint32_t block = STATE + STATE_QUEUE_TABLE + queue * QUEUE_BYTES, end, published;
  do {
    uint32_t planned = CALL(plan, STATE, queue, 0, QUEUE_SIZE_MAX);
    end = planned >> 16;
    if (end == PLAN_DEAD) return;
    for (uint32_t i = 0; i < (planned & 0xffff); i++) {
      uint32_t slot = get32(get32(block + QUEUE_PLANNED) + 4 * i);
      uint32_t record = get32(block + QUEUE_RECORDS) + (slot & 0xffff) * get32(STATE + STATE_SLOT_BYTES);
      if (CALL(complete, STATE, slot, carry_out(record)) == COMPLETE_FLUSH) CALL(complete, STATE, slot, 0); /* fsync */
    }
    published = CALL(publish, STATE, queue);
    if ((published & PUBLISH_INTERRUPT) || end == PLAN_POISONED) interrupts++;
  } while (end == PLAN_MORE || (end != PLAN_POISONED && (published & PUBLISH_MORE)));
}

/* What the VMM does on an exit for the device's window. EFFECT_RESET: nothing is ever in flight here. */
static void mmio_write(uint32_t offset, uint32_t value) {
  uint32_t effects = CALL(mmioWrite, STATE, offset, 4, value);
  if (effects & EFFECT_KICK) drain(value);
  if (effects & EFFECT_DRIVER_OK) drain(0);
}

static uint32_t mmio_read(uint32_t offset) { return CALL(mmioRead, STATE, offset, 4); }

/* The guest ----------------------------------------------------------------------------------------------- */

enum { DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, HEADERS = 0x4000, DATA = 0x5000, STATUS = 0x6000 };
static uint16_t avail_idx;

static void bring_up(void) {
  static const struct { uint32_t offset, value; } steps[] = {
    {0x70, 0}, {0x70, 1}, {0x70, 3}, {0x24, 1}, {0x20, 1}, {0x70, 11}, /* reset, ACKNOWLEDGE, DRIVER, VERSION_1 */
    {0x30, 0}, {0x38, 16}, {0x80, RAM_GPA + DESC}, {0x84, 0}, {0x90, RAM_GPA + AVAIL}, {0x94, 0},
    {0xa0, RAM_GPA + USED}, {0xa4, 0}, {0x44, 1}, {0x70, 15}, /* queue 0, DRIVER_OK */
  };
  memset(linear + RAM_PTR + AVAIL, 0, 0x2000);
  avail_idx = 0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) mmio_write(steps[i].offset, steps[i].value);
}

static void describe(int index, uint32_t gpa, uint32_t len, uint16_t flags) {
  uint32_t at = RAM_PTR + DESC + 16 * index;
  put64(at, gpa);
  put32(at + 8, len);
  put16(at + 12, flags);
  put16(at + 14, index + 1);
}

static void offer(uint16_t head) {
  put16(RAM_PTR + AVAIL + 4 + 2 * (avail_idx++ % 16), head);
  put16(RAM_PTR + AVAIL + 2, avail_idx);
}

/* Three descriptors from `head` on: header, 512 bytes of data, status. NEXT is 1, WRITE is 2. */
static void request(int head, uint32_t type, uint64_t sector, uint32_t data) {
  uint32_t header = HEADERS + 16 * head;
  put32(RAM_PTR + header, type);
  put64(RAM_PTR + header + 8, sector);
  linear[RAM_PTR + STATUS + head] = 0xff;
  describe(head, RAM_GPA + header, 16, 1);
  describe(head + 1, data, 512, type == 0 ? 3 : 1);
  describe(head + 2, RAM_GPA + STATUS + head, 1, 2);
  offer(head);
}

static void show(const char *what) {
  printf("%s: Status %#x, InterruptStatus %u, %d interrupts\n", what, mmio_read(0x70), mmio_read(0x60), interrupts);
}

static void show_used(void) {
  uint32_t used = RAM_PTR + USED, count = get32(used) >> 16;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t head = get32(used + 4 + 8 * i), len = get32(used + 8 + 8 * i);
    printf("  used %u: head %u, length %u, status %u\n", i, head, len, linear[RAM_PTR + STATUS + head]);
  }
}

int main(int count, char **words) {
  start(LINEAR_BYTES, count > 1 ? words[1] : "");
  for (size_t i = 0; i < sizeof disk; i++) disk[i] = i / 512;
  printf("abi %u%s, init %d\n", Z_engineZ_abiVersion(&engine),
         Z_engineZ_abiVersion(&engine) == ABI_VERSION ? "" : " is not ours", create());
  printf("magic %#x, capacity %u\n", mmio_read(0), mmio_read(0x100));

  bring_up();
  memset(linear + RAM_PTR + DATA + 512, 0x77, 512);
  request(0, 0, 5, RAM_GPA + DATA);                   /* read sector 5 */
  request(3, 1, 7, RAM_GPA + DATA + 512);             /* write sector 7 */
  request(6, 0, 5, RAM_GPA + RAM_BYTES - 256);        /* half of the buffer is not guest RAM */
  mmio_write(0x50, 0);
  show("three requests");
  show_used();
  printf("  read %#x..%#x, sector 7 of the disk %#x..%#x\n", linear[RAM_PTR + DATA], linear[RAM_PTR + DATA + 511],
         disk[7 * 512], disk[7 * 512 + 511]);

  mmio_write(0x64, 1);
  offer(99); /* there is no such descriptor */
  mmio_write(0x50, 0);
  show("a head of 99");
  printf("  ring fault %d\n", (int)get32(STATE + STATE_FAULT));

  bring_up();
  request(0, 0, 7, RAM_GPA + DATA);
  mmio_write(0x50, 0);
  show("after a reset");
  show_used();
  printf("  read %#x\n", linear[RAM_PTR + DATA]);
  return 0;
}
