// Numbers as the Linux view writes them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

export function count(value: number): string {
  return value > 0 && value < 10 ? short.format(value) : whole.format(value)
}

export function bytesText(value: number): string {
  if (value < 1024) return `${whole.format(value)} B`
  const [unit, size] = value < 2 ** 20 ? ['KiB', 2 ** 10] : value < 2 ** 30 ? ['MiB', 2 ** 20] : ['GiB', 2 ** 30]
  return `${short.format(value / size)} ${unit}`
}

export function microsText(micros: number): string {
  if (micros < 1000) return `${whole.format(micros)} µs`
  return `${short.format(micros / 1000)} ms`
}

export function timeText(wallMs: number): string {
  const time = new Date(wallMs)
  const two = (value: number): string => String(value).padStart(2, '0')
  const millis = String(time.getMilliseconds()).padStart(3, '0')
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`
}
