// What the device itself is: its Status register, what was negotiated, its interrupt status, its disk and its limits,
// in one line of facts; everything else of it under them.

import type { Picture } from './model/walk-types.ts'
import { hex } from './model/words.ts'

export function DeviceStrip({ picture }: { picture: Picture }) {
  const { registers, device, counters } = picture
  const { statusNames, negotiated, interruptNames } = registers
  const isDown = statusNames.includes('NEEDS_RESET') || statusNames.includes('FAILED')
  const counted = Object.entries(counters).filter(([, value]) => value !== 0)
  return (
    <section class="card device" aria-label="Device">
      <dl class="device-facts">
        <Fact name="Status">
          <span class="mono">{hex(registers.status)}</span>{' '}
          <span class={`tag ${isDown ? 'bad' : statusNames.includes('DRIVER_OK') ? 'good' : ''}`}>
            {statusNames.at(-1) ?? 'reset'}
          </span>
        </Fact>
        <Fact name="InterruptStatus">
          <span class="mono">{registers.interruptStatus}</span>{' '}
          {interruptNames.map((name) => (
            <span key={name} class="tag wait">
              {name}
            </span>
          ))}
        </Fact>
        <Fact name="Negotiated">{negotiated.join(', ') || 'nothing yet'}</Fact>
        <Fact name="Disk">
          {device.capacitySectors} sectors{device.readOnly ? ', read-only' : ''}
        </Fact>
        <Fact name="Limits">{device.throttle}</Fact>
      </dl>
      <details class="small">
        <summary>Features, limits of requests, counters</summary>
        <div class="device-more">
          <dl class="facts">
            <dt>Status bits</dt>
            <dd>{statusNames.join(', ') || 'none'}</dd>
            <dt>ConfigGeneration</dt>
            <dd>{registers.configGeneration}</dd>
            <dt>seg_max, size_max</dt>
            <dd>
              {device.segMax}, {device.sizeMax}
            </dd>
            <dt>Block size</dt>
            <dd>{device.blockSize}</dd>
            <dt>Serial</dt>
            <dd>{device.serial || 'empty'}</dd>
            <dt>Guest RAM</dt>
            <dd class="mono">{device.regions.map(({ gpa, bytes }) => `${hex(gpa)}+${hex(bytes)}`).join(', ')}</dd>
          </dl>
          <table>
            <caption>Features</caption>
            <tbody>
              {registers.features.map(({ bit, name, isOffered, isAccepted }) => (
                <tr key={bit}>
                  <td class="num">{bit}</td>
                  <td>{name}</td>
                  <td>{isAccepted ? 'accepted' : isOffered ? 'offered' : 'accepted, not offered'}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <table>
            <caption>Counters that are not 0</caption>
            <tbody>
              {counted.map(([name, value]) => (
                <tr key={name}>
                  <td>{name}</td>
                  <td class="num">{value.toLocaleString('en')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  )
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}
