// The device of the form: its disk and queue, what the driver accepts, and under them all that is rarely changed.

import type { DraftDevice, DraftLimits, Messages } from './draft.ts'
import { Check, Field, Fold, Select } from './fields.tsx'
import { LIMIT_NAMES } from './model/scenario.ts'

interface DeviceFormProps {
  readonly device: DraftDevice
  readonly messages: Messages
  onChange(device: DraftDevice): void
}

const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256].map((size) => [String(size), String(size)] as const)

/** Fields that are empty more often than not, with what an empty one means. */
const MORE = [
  ['storedSectors', 'Sectors that the back end has', 'all'],
  ['segMax', 'seg_max', 'what fits the queue'],
  ['sizeMax', 'size_max', 'no limit'],
  ['blockSize', 'blk_size', '512'],
  ['serial', 'Serial', 'empty'],
  ['border', 'Border between two regions of RAM', 'one region'],
  ['desc', 'Address of the descriptor table', 'chosen'],
  ['avail', 'Address of the avail ring', 'chosen'],
  ['used', 'Address of the used ring', 'chosen'],
] as const

export function DeviceForm({ device, messages, onChange }: DeviceFormProps) {
  const set = (more: Partial<DraftDevice>): void => onChange({ ...device, ...more })
  const isMoreUsed = MORE.some(([field]) => device[field] !== '' || messages.has(`device.${field}`))
  return (
    <fieldset>
      <legend>Device and driver</legend>
      <div class="form-grid">
        <Field
          label="Capacity, sectors"
          value={device.sectors}
          message={messages.get('device.sectors')}
          onChange={(sectors) => set({ sectors })}
        />
        <Select
          label="Queue size"
          value={device.queueSize}
          options={SIZES}
          onChange={(queueSize) => set({ queueSize })}
        />
        <LimitFields
          limits={device.limits}
          name="device.limits"
          messages={messages}
          onChange={(limits) => set({ limits })}
        />
      </div>
      <div class="checks">
        <Check label="Read-only disk" isOn={device.readOnly} onChange={(readOnly) => set({ readOnly })} />
        <Check label="EVENT_IDX accepted" isOn={device.eventIdx} onChange={(eventIdx) => set({ eventIdx })} />
        <Check label="FLUSH accepted" isOn={device.flush} onChange={(flush) => set({ flush })} />
        <Check label="The back end answers late" isOn={device.late} onChange={(late) => set({ late })} />
      </div>
      <Fold title="More of the device" isUsed={isMoreUsed}>
        <div class="form-grid">
          {MORE.map(([field, label, empty]) => (
            <Field
              key={field}
              label={label}
              empty={empty}
              isText={field === 'serial'}
              value={device[field]}
              message={messages.get(`device.${field}`)}
              onChange={(value) => set({ [field]: value })}
            />
          ))}
        </div>
      </Fold>
    </fieldset>
  )
}

const LIMIT_LABELS: Readonly<Record<keyof DraftLimits, readonly [label: string, empty: string]>> = {
  iops: ['Requests a second', 'no limit'],
  iopsBurst: ['Burst of requests', 'one second’s worth'],
  bytesPerSecond: ['Bytes a second', 'no limit'],
  bytesBurst: ['Burst of bytes', 'one second’s worth'],
}

interface LimitFieldsProps {
  readonly limits: DraftLimits
  readonly name: string
  readonly messages: Messages
  onChange(limits: DraftLimits): void
}

export function LimitFields({ limits, name, messages, onChange }: LimitFieldsProps) {
  return (
    <>
      {LIMIT_NAMES.map((limit) => (
        <Field
          key={limit}
          label={LIMIT_LABELS[limit][0]}
          empty={LIMIT_LABELS[limit][1]}
          value={limits[limit]}
          message={messages.get(`${name}.${limit}`)}
          onChange={(value) => onChange({ ...limits, [limit]: value })}
        />
      ))}
    </>
  )
}
