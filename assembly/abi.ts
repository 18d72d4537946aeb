// Numbers fixed by us: the state block, the request record, effects, outcomes and limits. What the host and
// the engine agree on, and the only thing they share besides spec.ts.
//
// Same dialect as spec.ts (compiled by asc, imported by the host as it is). Every offset is in bytes. `layout.ts`
// proves at compile time that the @unmanaged classes lie where this file says. All integers are little-endian.
// Raise ABI_VERSION whenever a number here changes its meaning.

export const ABI_VERSION = 3

// Limits ------------------------------------------------------------------------------------------------

export const REGIONS_MAX = 8
export const QUEUES_MAX = 64
/** gpa, size and ptr of every region are multiples of this, so that no field of a ring straddles two regions */
export const REGION_ALIGN = 4096

// State block: what the whole device needs ----------------------------------------------------------------

// Transport: the part that a vCPU thread may touch while a worker owns the queues. Atomic accesses only.
export const STATE_STATUS = 0 // u32
export const STATE_INTERRUPT_STATUS = 4 // u32
export const STATE_CONFIG_GENERATION = 8 // u32
export const STATE_DEVICE_FEATURES_SEL = 12 // u32
export const STATE_DRIVER_FEATURES_SEL = 16 // u32
export const STATE_QUEUE_SEL = 20 // u32
/** four words, so that a bit above 63 is remembered and refused rather than lost */
export const STATE_DRIVER_FEATURES = 24 // u32[4]

// Configuration: written by the host before init(), constant afterwards (capacity: setCapacity)
export const STATE_DEVICE_FEATURES = 40 // u64
export const STATE_CAPACITY_SECTORS = 48 // u64
export const STATE_QUEUES = 56 // u32
export const STATE_QUEUE_SIZE_MAX = 60 // u32
export const STATE_SEG_MAX = 64 // u32
export const STATE_SIZE_MAX = 68 // u32
export const STATE_BLOCK_SIZE = 72 // u32
export const STATE_READ_ONLY = 76 // u32
export const STATE_SERIAL = 80 // u8[20], NUL-padded
export const STATE_REGIONS = 100 // u32, number of regions in the region table
/** what setThrottle() reads: u64[4]: ops rate, ops capacity, bytes rate, bytes capacity; rate 0 = unlimited */
export const STATE_THROTTLE_CONFIG = 128

// What the engine remembers
export const STATE_EVENT_IDX = 104 // u32, negotiated
export const STATE_WRITE_THROUGH = 108 // u32, a write is durable before it is completed
export const STATE_DAMAGED = 112 // u32, an engine call trapped: the next reset rebuilds the slots
export const STATE_FAULT = 116 // i32, the last ring fault (RING_FAULT_*), for logs
export const STATE_SLOT_BYTES = 120 // u32, distance between the records of two slots

// Throttle: two token buckets
export const STATE_OPS_BUCKET = 160
export const STATE_BYTES_BUCKET = 200
export const BUCKET_CAPACITY = 0 // u64
export const BUCKET_RATE = 8 // u64, tokens per second, 0 = unlimited
export const BUCKET_BALANCE = 16 // i64, negative = debt
export const BUCKET_LAST = 24 // u64, ns
export const BUCKET_FRACTION = 32 // u64, 1e-9 tokens already earned, < 1e9
export const BUCKET_BYTES = 40

// Counters: u64 each, in this order
export const STATE_COUNTERS = 240
export const COUNTER_READS_COMPLETED = 0
export const COUNTER_BYTES_READ = 1
export const COUNTER_WRITES_COMPLETED = 2
export const COUNTER_BYTES_WRITTEN = 3
export const COUNTER_FLUSHES_COMPLETED = 4
export const COUNTER_IDS_COMPLETED = 5
export const COUNTER_DISCARDS_COMPLETED = 6
export const COUNTER_WRITE_ZEROES_COMPLETED = 7
export const COUNTER_UNSUPPORTED = 8
export const COUNTER_IO_ERRORS = 9
export const COUNTER_SHORT_READS = 10
export const COUNTER_THROTTLED_COUNT = 11
export const COUNTER_THROTTLED_NANOS = 12
export const COUNTER_CURRENTLY_THROTTLED = 13
export const COUNTER_INVALID_AVAIL_IDX = 14
export const COUNTER_RING_FAULTS = 15
export const COUNTER_STATUS_WRITE_FAILURES = 16
export const COUNTER_KICKS = 17
export const COUNTER_IGNORED_KICKS = 18
export const COUNTER_DRAINS = 19
export const COUNTER_INTERRUPTS = 20
export const COUNTER_SUPPRESSED_INTERRUPTS = 21
export const COUNTER_RESETS = 22
export const COUNTER_ENGINE_TRAPS = 23
export const COUNTERS = 24
/** the first counters, up to and with shortReads, are counted per request: after the publish, never before */
export const COUNTERS_PER_REQUEST = 11

// Tables: the image of virtio_blk_config (u8[96]), the regions, the queue blocks, then each queue's arrays
export const STATE_CONFIG_SPACE = 432
export const STATE_REGION_TABLE = 528
export const REGION_GPA = 0 // u64
export const REGION_SIZE = 8 // u64
export const REGION_PTR = 16 // u32
export const REGION_BYTES = 24
export const STATE_QUEUE_TABLE = 720
export const QUEUE_SIZE = 0 // u32, as written by the driver; checked when the queue becomes ready
export const QUEUE_READY = 4 // u32
export const QUEUE_FROZEN = 8 // u32, was ready since the last reset
export const QUEUE_STALLED = 12 // u32, its head waits for tokens
export const QUEUE_DESC_GPA = 16 // u64
export const QUEUE_AVAIL_GPA = 24 // u64
export const QUEUE_USED_GPA = 32 // u64
export const QUEUE_DESC_PTR = 40 // u32, 0: the ring spans two regions, translate each access
export const QUEUE_AVAIL_PTR = 44 // u32
export const QUEUE_USED_PTR = 48 // u32
export const QUEUE_NEXT_AVAIL = 52 // u32, free-running 16-bit idx
export const QUEUE_NEXT_USED = 56 // u32, free-running 16-bit idx, elements written
export const QUEUE_USED_IDX = 60 // u32, free-running 16-bit idx, as last published
export const QUEUE_AVAIL_EVENT = 64 // u32, as last stored; above 0xffff: never
export const QUEUE_USED_FLAGS = 68 // u32, as last stored; above 0xffff: never
export const QUEUE_FREE_SLOT = 72 // u32, first free slot + 1, 0 = none
export const QUEUE_SLOTS = 76 // u32, slots handed out at least once; those above were never touched
export const QUEUE_PLANNED = 80 // u32, ptr of the list of slots the last plan() filled, u32 each
export const QUEUE_HEADS = 84 // u32, ptr of one u64 per head: all ones = in flight, else the epoch it was completed in
export const QUEUE_RECORDS = 88 // u32, ptr of the request records, one per slot
export const QUEUE_GENERATION = 92 // u32, +1 per reset or stop; a completion of an older one only frees its slot
export const QUEUE_EPOCH = 96 // u64, +1 per publish
export const QUEUE_STALLED_AT = 104 // u64, ns
export const QUEUE_STALL_NANOS = 112 // f64, how long to wait, 1..1e9
export const QUEUE_PENDING = 120 // u64[COUNTERS_PER_REQUEST], to be added at the publish
export const QUEUE_BYTES = 208

// Request record, and behind it the segment list: one per slot, STATE_SLOT_BYTES apart. The host reads op, segments,
// sector, dataBytes and the list; it writes nothing.
export const REQ_OP = 0 // u32, REQ_OP_*; REQ_OP_NONE = the slot is free
export const REQ_SEGMENTS = 4 // u32
export const REQ_SECTOR_LOW = 8 // u32
export const REQ_SECTOR_HIGH = 12 // u32
export const REQ_DATA_BYTES = 16 // u32
export const REQ_STATUS_PTR = 20 // u32
export const REQ_HEAD = 24 // u32
export const REQ_GENERATION = 28 // u32
export const REQ_NEXT_FREE = 32 // u32, index of the next free record + 1
export const REQ_TYPE = 36 // u32, as the driver wrote it
export const REQ_DATA_IN = 40 // u32, writable bytes without the status byte
export const REQ_DATA_OUT = 44 // u32, readable bytes after the header
export const REQ_FAULT = 48 // i32, 0 or REQUEST_FAULT_*
export const REQ_WALKED = 52 // u32, descriptors of its chain
export const REQ_SEGMENT_LIST = 56 // segments, here so that record and first segment share a cache line
/** A slot is named by its queue in the high half and the index of its record in the low half. */
export const SLOT_QUEUE_SHIFT = 16

export const REQ_OP_NONE = 0
export const REQ_OP_READ = 1
export const REQ_OP_WRITE = 2
export const REQ_OP_FLUSH = 3
export const REQ_OP_WRITE_THROUGH = 4 // a write that is stored and waits for its flush

// Segment: a piece of guest RAM, contiguous in linear memory
export const SEGMENT_PTR = 0 // u32
export const SEGMENT_LEN = 4 // u32
export const SEGMENT_BYTES = 8

// Effects of mmioWrite() and of setCapacity(), fail(): bits -----------------------------------------------------

export const EFFECT_KICK = 1 // drain the queue whose index was written
export const EFFECT_RESET = 2 // drop everything in flight, disarm timers
export const EFFECT_DRIVER_OK = 4 // drain every queue once
export const EFFECT_INTERRUPT = 8 // raise the interrupt
export const EFFECT_ACK = 16 // InterruptStatus became 0: a level-triggered line goes low

// Causes of fail(): all set NEEDS_RESET ---------------------------------------------------------------------------

export const FAIL_SERVICE = 0 // service has ended: the driver is interrupted
export const FAIL_TRAP = 1 // an engine call trapped: its records are rebuilt by the reset
export const FAIL_WORKER = 2 // the worker died, and what it had in flight with it: records are rebuilt by the reset
export const FAIL_QUIETLY = 3 // a reset cannot complete yet: nobody is interrupted

// plan(): number of requests filled in the low 16 bits, why it ended above them ---------------------------------

export const PLAN_END_SHIFT = 16
export const PLAN_COUNT_MASK = 0xffff
export const PLAN_EMPTY = 0 // the ring has nothing more
/** a plan ends after so many descriptors per ring entry: chains that share descriptors cannot make it quadratic */
export const PLAN_WALKS_SHIFT = 4
export const PLAN_MORE = 1 // `max` chains or enough descriptors were taken, and the ring has more
export const PLAN_STALLED = 2 // the head waits for tokens: QUEUE_STALL_NANOS
export const PLAN_POISONED = 3 // ring fault: NEEDS_RESET and CONFIG are set, raise the interrupt
export const PLAN_BUSY = 4 // no free slot: go on after the next completion
export const PLAN_DEAD = 5 // the queue is not live: nothing was looked at

// complete() ----------------------------------------------------------------------------------------------

export const COMPLETE_DONE = 0
export const COMPLETE_FLUSH = 1 // write-through: make the write durable, then complete() the same slot again
export const COMPLETE_STALE = 2 // the device was reset since: the slot is free, nothing else happened
export const COMPLETE_BAD_SLOT = -1 // no request is in flight in that slot: a bug of the host

// publish(): bits -----------------------------------------------------------------------------------------

export const PUBLISH_INTERRUPT = 1
export const PUBLISH_MORE = 2 // the driver added chains meanwhile: drain again

// init(): 0 or why the configuration record is refused ---------------------------------------------------------

export const INIT_BAD_QUEUES = -1
export const INIT_BAD_QUEUE_SIZE_MAX = -2
export const INIT_BAD_SEG_MAX = -3
export const INIT_BAD_SIZE_MAX = -4
export const INIT_BAD_BLOCK_SIZE = -5
export const INIT_BAD_FEATURES = -6
export const INIT_BAD_REGIONS = -7

// Ring faults: the queue is poisoned (STATE_FAULT) ----------------------------------------------------------------

export const RING_FAULT_AVAIL_IDX = -1 // more than queue size ahead
export const RING_FAULT_HEAD = -2 // head >= queue size
export const RING_FAULT_HEAD_IN_FLIGHT = -3
export const RING_FAULT_NEXT = -4 // next >= queue size
export const RING_FAULT_LOOP = -5 // chain longer than the queue
export const RING_FAULT_INDIRECT = -6 // INDIRECT without the feature
export const RING_FAULT_NO_STATUS = -7 // no writable byte at all
export const RING_FAULT_STATUS_UNMAPPED = -8 // the last writable byte is not in guest RAM

// Request faults: IOERR, one code per rule, in the order of the checks ---------------

export const REQUEST_FAULT_ORDER = -20 // a: a readable descriptor after a writable one
export const REQUEST_FAULT_HEADER_SHORT = -21 // a
export const REQUEST_FAULT_HEADER_UNMAPPED = -22 // a
export const REQUEST_FAULT_SIZE_MAX = -23 // b
export const REQUEST_FAULT_SEG_MAX = -24 // b
export const REQUEST_FAULT_TOTAL = -25 // b
export const REQUEST_FAULT_NO_DATA = -26 // c
export const REQUEST_FAULT_FLUSH_DATA = -27 // c
export const REQUEST_FAULT_ALIGNMENT = -28 // d
export const REQUEST_FAULT_DIRECTION = -29 // d
export const REQUEST_FAULT_DATA_UNMAPPED = -30 // d
export const REQUEST_FAULT_READ_ONLY = -31 // e
export const REQUEST_FAULT_RANGE = -32 // f
export const REQUEST_FAULT_ID_SHORT = -33 // g

// Events of the trace flavour's import: trace(event, at, low, high) -------------------------------------------------

// Loads of guest RAM: `at` is the ptr of the bytes, low and high their value.
export const TRACE_AVAIL_FLAGS = 1 // 2 bytes
export const TRACE_AVAIL_IDX = 2 // 2 bytes
export const TRACE_HEAD = 3 // 2 bytes
export const TRACE_USED_EVENT = 4 // 2 bytes
export const TRACE_DESC_ADDR = 5 // 8 bytes
export const TRACE_DESC_REST = 6 // 8 bytes: len, flags, next
export const TRACE_TYPE = 7 // 4 bytes
export const TRACE_SECTOR = 8 // 8 bytes
export const TRACE_HEADER_BYTE = 9 // 1 byte of a header that is cut by descriptors or regions
export const TRACE_LOAD_LAST = 9

// Stores to guest RAM: likewise, but for the last two, whose low is a length.
export const TRACE_USED_ELEMENT = 16 // 8 bytes: head, len
export const TRACE_USED_HALF = 17 // 4 bytes: half of an element that lies astride two regions
export const TRACE_USED_IDX = 18 // 2 bytes
export const TRACE_USED_FLAGS = 19 // 2 bytes
export const TRACE_AVAIL_EVENT = 20 // 2 bytes
export const TRACE_STATUS = 21 // 1 byte
export const TRACE_ZERO = 22 // low bytes of zeros, past the end of the data
export const TRACE_SERIAL = 23 // low bytes of the serial; high is the ptr they come from
export const TRACE_STORE_LAST = 23

// Decisions of plan()
export const TRACE_VERDICT = 32 // on the chain that starts at head `at`: low is VERDICT_* or REQUEST_FAULT_*, high its type
export const TRACE_RING_FAULT = 33 // low is RING_FAULT_*, `at` the queue
export const TRACE_STALL = 34 // head `at` waits for tokens, low ns

// Verdicts on a request besides the negative REQUEST_FAULT_* codes
export const VERDICT_READ = 1 // REQ_OP_READ
export const VERDICT_WRITE = 2 // REQ_OP_WRITE
export const VERDICT_FLUSH = 3 // REQ_OP_FLUSH
export const VERDICT_GET_ID = 4
export const VERDICT_FLUSH_NOTHING = 5 // a flush of a read-only disk
export const VERDICT_UNSUPPORTED = 6
