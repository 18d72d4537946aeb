// The Linux half of the package: what needs files, threads and the kernel.

export { FileBackend } from './backend/file.ts'
export { createImage } from './backend/image.ts'
export type { FailureKind, Failures } from './loop/control.ts'
export { DiskWorker, type DiskWorkerOptions, type WorkerDisk, type WorkerDiskOptions } from './loop/disk-worker.ts'
export type { BackendSource } from './loop/messages.ts'
export { type DiskHandle, DiskTransport } from './loop/transport.ts'
