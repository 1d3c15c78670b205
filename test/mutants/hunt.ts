/** One campaign in search of a bug. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

export interface Range {
  readonly from: number
  readonly to: number
}

export interface Hunt {
  /** The seed that found it; null: none did. */
  readonly seed: number | null
  /** What was found, or why nothing was. */
  readonly how: string
  readonly ms: number
}

/** Of every campaign. */
export const PEERS = 5
export const MINUTES = 5
const SIZE = ['--peers', String(PEERS), '--minutes', String(MINUTES)]
const MANNER = ['--stop-at-first', '--shrink-seconds', '0']
const MAX_QUOTED_CHARS = 500

/** Exit code 1 of a campaign with a failed seed is a violation; 2 is a program that does not even run. */
export function hunt(
  root: string,
  { from, to }: Range,
  hasRing: boolean,
  jobs: number,
  limitMs: number,
  signal: AbortSignal,
): Promise<Hunt> {
  const script = join('test', 'simulation', 'campaign.ts')
  const own = ['--seeds', `${from}..${to}`, '--jobs', String(jobs), ...(hasRing ? [] : ['--no-ring'])]
  const begunMs = performance.now()
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...own, ...SIZE, ...MANNER], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  const timer = setTimeout(() => child.kill(), limitMs)
  return new Promise((resolve) => {
    child.on('error', () => undefined) // Aborted; its end is told as well.
    child.on('close', (code) => {
      clearTimeout(timer)
      const ms = performance.now() - begunMs
      const failure = /^FAILED seed (\d+) .*$/m.exec(output)
      if (code === 1 && failure !== null) return resolve({ seed: Number(failure[1]), how: failure[0], ms })
      const how = code === 2 ? output.slice(-MAX_QUOTED_CHARS) : 'the campaign found nothing'
      resolve({ seed: null, how: code === null ? `nothing was found in ${limitMs / 1000} s` : how, ms })
    })
  })
}
