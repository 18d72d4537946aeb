// The engine as it is shipped, byte by byte, in the interpreter of wabt: a runtime that shares no code with V8, nor with
// any compiler of WebAssembly. Gives vmm.c the same functions as wasm2c's C. The interpreter has one thread, so its
// atomic instructions are plain ones.

#include <fstream>
#include <iterator>
#include <string>

#include "wabt/interp/binary-reader-interp.h"
#include "wabt/binary-reader.h"
#include "wabt/error.h"
#include "wabt/interp/interp.h"

#include "engine.h"
#include "runtime.h"

using namespace wabt;
using namespace wabt::interp;

Z_engine_instance_t engine;
uint8_t *linear;

static Features features;
static Store store(features);
static Memory::Ptr memory;
static Instance::Ptr instance;
static ModuleDesc description;

[[noreturn]] static void die(const std::string &why) {
  fprintf(stderr, "%s\n", why.c_str());
  exit(1);
}

void start(uint32_t bytes, const char *file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string module((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  features.enable_threads();
  Errors errors;
  const ReadBinaryOptions options(features, nullptr, false, true, true);
  if (Failed(ReadBinaryInterp(file, module.data(), module.size(), options, &errors, &description))) {
    die(errors.empty() ? file : errors[0].message);
  }
  memory = Memory::New(store, MemoryType{Limits{bytes / 65536}});
  linear = memory->UnsafeData();
  Trap::Ptr trap;
  const Module::Ptr made = Module::New(store, description);
  instance = Instance::Instantiate(store, made.ref(), {memory.ref()}, &trap);
  if (!instance) die(trap->message());
}

static u32 call(const char *name, const Values &arguments) {
  for (size_t i = 0; i < description.exports.size(); i++) {
    if (description.exports[i].type.name != name) continue;
    Values results;
    Trap::Ptr trap;
    const Func::Ptr function = store.UnsafeGet<Func>(instance->exports()[i]);
    if (Failed(function->Call(store, arguments, results, &trap))) die(trap->message());
    return results.empty() ? 0 : results[0].Get<u32>();
  }
  die(std::string("no export ") + name);
}

template <typename... Arguments>
static u32 call32(const char *name, Arguments... arguments) {
  return call(name, Values{Value::Make(arguments)...});
}

#define SELF Z_engine_instance_t *
u32 Z_engineZ_abiVersion(SELF) { return call32("abiVersion"); }
u32 Z_engineZ_stateBytes(SELF, u32 a, u32 b, u32 c, u32 d) { return call32("stateBytes", a, b, c, d); }
u32 Z_engineZ_init(SELF, u32 state) { return call32("init", state); }
u32 Z_engineZ_mmioRead(SELF, u32 state, u32 offset, u32 width) { return call32("mmioRead", state, offset, width); }
u32 Z_engineZ_mmioWrite(SELF, u32 state, u32 offset, u32 width, u32 value) {
  return call32("mmioWrite", state, offset, width, value);
}
u32 Z_engineZ_plan(SELF, u32 state, u32 queue, f64 now, u32 max) { return call32("plan", state, queue, now, max); }
u32 Z_engineZ_complete(SELF, u32 state, u32 slot, f64 result) { return call32("complete", state, slot, result); }
u32 Z_engineZ_publish(SELF, u32 state, u32 queue) { return call32("publish", state, queue); }
