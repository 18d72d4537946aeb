/* What vmm.c needs of a WebAssembly runtime besides the exports that engine.h declares. */
#ifdef __cplusplus
extern "C" {
#endif

extern Z_engine_instance_t engine;
extern uint8_t *linear; /* linear memory */

/* Makes a memory of so many zeroed bytes, and the engine over it; `file`: the module, where it is read at run time. */
void start(uint32_t bytes, const char *file);

#ifdef __cplusplus
}
#endif
