// Device configuration space (5.2.4): an image of virtio_blk_config in the state block, served byte by byte at any
// width and alignment; zero past its end. Fields of features that are not offered stay zero. Nothing in it is
// writable with the features offered here.

import { STATE_CONFIG_SPACE } from './abi.ts'
import { State, U8, U32, U64 } from './layout.ts'
import {
  VIRTIO_BLK_CFG_BLK_SIZE,
  VIRTIO_BLK_CFG_BYTES,
  VIRTIO_BLK_CFG_CAPACITY,
  VIRTIO_BLK_CFG_SEG_MAX,
  VIRTIO_BLK_CFG_SIZE_MAX,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
} from './spec.ts'

function field(state: State, offset: u32): u32 {
  return changetype<u32>(state) + STATE_CONFIG_SPACE + offset
}

function offered(state: State, bit: u32): bool {
  return ((state.deviceFeatures >> (bit as u64)) & 1) !== 0
}

export function fillConfig(state: State): void {
  changetype<U64>(field(state, VIRTIO_BLK_CFG_CAPACITY)).value = state.capacitySectors
  if (offered(state, VIRTIO_BLK_F_SIZE_MAX)) {
    changetype<U32>(field(state, VIRTIO_BLK_CFG_SIZE_MAX)).value = state.sizeMax
  }
  if (offered(state, VIRTIO_BLK_F_SEG_MAX)) {
    changetype<U32>(field(state, VIRTIO_BLK_CFG_SEG_MAX)).value = state.segMax
  }
  if (offered(state, VIRTIO_BLK_F_BLK_SIZE)) {
    changetype<U32>(field(state, VIRTIO_BLK_CFG_BLK_SIZE)).value = state.blockSize
  }
}

/** `offset` counts from 0x100; `width` is 1, 2 or 4. */
export function configRead(state: State, offset: u32, width: u32): u32 {
  let value: u32 = 0
  for (let i: u32 = 0; i < width; i++) {
    const at = offset + i
    if (at < (VIRTIO_BLK_CFG_BYTES as u32)) value |= (changetype<U8>(field(state, at)).value as u32) << (i << 3)
  }
  return value
}
