// The Linux half of the package: what needs files, threads and the kernel.

export { FileBackend } from './backend/file.ts'
export { createImage } from './backend/image.ts'
