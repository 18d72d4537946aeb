// A vCPU that writes one value to Status as fast as it can until it is told to stop. Posts one message when it begins.

import { parentPort, workerData } from 'node:worker_threads'
import { VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import { type DiskHandle, DiskTransport } from '../../host/loop/transport.ts'

export interface HammerData {
  readonly handle: DiskHandle
  readonly value: number
  /** word 0: not 0 = stop */
  readonly stop: Int32Array
}

const { handle, value, stop } = workerData as HammerData
const transport = DiskTransport.open(handle)
parentPort?.postMessage('begun')
while (Atomics.load(stop, 0) === 0) transport.mmioWrite(VIRTIO_MMIO_STATUS, 4, value)
