/** How far an import is, on standard error: a bar on a terminal, elsewhere a line every few seconds. */
import { formatBytes, formatCount } from '../terminal.ts'

const UPDATE_EVERY_MS = 200
const LINE_EVERY_MS = 5_000

export interface ProgressFigures {
  readonly bytes: number
  readonly imported: number
  readonly bad: number
  readonly unacknowledged: number
}

/** @param sizeBytes of the input, where it is known */
export function startProgress(sizeBytes: number | null, figures: () => ProgressFigures): { stop(): void } {
  if (process.stderr.isTTY === true && sizeBytes !== null) return startBar(sizeBytes, figures)
  const timer = setInterval(() => {
    process.stderr.write(`${progressLine(sizeBytes, figures())}\n`)
  }, LINE_EVERY_MS)
  return { stop: () => clearInterval(timer) }
}

/** `1,234 imported, 5 failed; 40% of 12 MiB read`. */
export function progressLine(sizeBytes: number | null, figures: ProgressFigures): string {
  const { bytes, imported, bad, unacknowledged } = figures
  const rows = `${formatCount(imported)} imported, ${formatCount(bad + unacknowledged)} failed`
  if (sizeBytes === null) return rows
  const percent = Math.floor((100 * bytes) / Math.max(1, sizeBytes))
  return `${rows}; ${Math.min(100, percent)}% of ${formatBytes(sizeBytes)} read`
}

function startBar(sizeBytes: number, figures: () => ProgressFigures): { stop(): void } {
  let stopped = false
  let end = (): void => {}
  void import('cli-progress').then(({ default: progress }) => {
    if (stopped) return
    const format = '{bar} {percentage}%  {imported} imported, {failed} failed  {eta_formatted} left'
    const bar = new progress.SingleBar(
      { format, stream: process.stderr, hideCursor: true },
      progress.Presets.shades_classic,
    )
    bar.start(Math.max(1, sizeBytes), 0, { imported: 0, failed: 0 })
    const update = (): void => {
      const { bytes, imported, bad, unacknowledged } = figures()
      bar.update(bytes, { imported, failed: bad + unacknowledged })
    }
    const timer = setInterval(update, UPDATE_EVERY_MS)
    end = (): void => {
      clearInterval(timer)
      update()
      bar.stop()
    }
  })
  return {
    stop: () => {
      stopped = true
      end()
    },
  }
}
