/*
 * The engine as C that wasm2c has made of it: no runtime is left but this. Linear memory is any memory of the host's,
 * where KVM may have guest RAM too. Accesses are checked against its size (WASM_RT_MEMCHECK_SIGNAL_HANDLER=0); what
 * does not fit, a bug of the engine or the host, ends the process here. The atomic instructions come as calls
 * (name-atomics.mjs) and are the compiler's own, sequentially consistent: vCPUs may run on other threads.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "engine.h"
#include "runtime.h"

Z_engine_instance_t engine;
uint8_t *linear;
static wasm_rt_memory_t memory;

void start(uint32_t bytes, const char *file) {
  (void)file;
  linear = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (linear == MAP_FAILED) abort();
  memory = (wasm_rt_memory_t){.data = linear, .pages = bytes / 65536, .max_pages = bytes / 65536, .size = bytes};
  wasm_rt_init();
  Z_engine_init_module();
  Z_engine_instantiate(&engine, NULL, NULL);
}

wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *env) { return (void)env, &memory; }

/* The address that an atomic instruction means, which has to be aligned. */
static void *at(uint32_t offset, uint32_t ptr, uint32_t width) {
  uint64_t address = (uint64_t)ptr + offset;
  if (address + width > memory.size || address % width != 0) wasm_rt_trap(WASM_RT_TRAP_OOB);
  return linear + address;
}

#define HERE struct Z_atomic_instance_t *unused, uint32_t offset, uint32_t ptr
#define AT(type) ((type *)at(offset, ptr, sizeof(type)))
#define ORDER __ATOMIC_SEQ_CST

u32 Z_atomicZ_load16(HERE) { return (void)unused, __atomic_load_n(AT(uint16_t), ORDER); }
u32 Z_atomicZ_load32(HERE) { return (void)unused, __atomic_load_n(AT(uint32_t), ORDER); }
void Z_atomicZ_store16(HERE, u32 value) { (void)unused, __atomic_store_n(AT(uint16_t), (uint16_t)value, ORDER); }
u32 Z_atomicZ_add32(HERE, u32 value) { return (void)unused, __atomic_fetch_add(AT(uint32_t), value, ORDER); }
u32 Z_atomicZ_and32(HERE, u32 value) { return (void)unused, __atomic_fetch_and(AT(uint32_t), value, ORDER); }
u32 Z_atomicZ_or32(HERE, u32 value) { return (void)unused, __atomic_fetch_or(AT(uint32_t), value, ORDER); }
u64 Z_atomicZ_add64(HERE, u64 value) { return (void)unused, __atomic_fetch_add(AT(uint64_t), value, ORDER); }
u32 Z_atomicZ_cmpxchg32(HERE, u32 expected, u32 value) {
  (void)unused;
  __atomic_compare_exchange_n(AT(uint32_t), &expected, value, 0, ORDER, ORDER);
  return expected;
}
