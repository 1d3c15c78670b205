/** Processes that a benchmark or a test starts and, whatever happens, ends. */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'

const STOP_TIMEOUT_MS = 10_000

/** Ends everything it started when this process ends, by itself or by a signal. */
export class Processes {
  readonly #running = new Set<ChildProcess>()

  constructor() {
    process.once('exit', () => {
      for (const child of this.#running) signalGroup(child, 'SIGKILL')
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  }

  start(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    // A group of its own, so that what it starts in turn can be ended with it.
    const child = spawn(command, args, { ...options, detached: true })
    this.#running.add(child)
    child.once('exit', () => this.#running.delete(child))
    return child
  }

  /** Standard output of a process that must end well. */
  async output(command: string, args: readonly string[]): Promise<string> {
    const child = this.start(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) =>
        code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`)),
      )
    })
    return text
  }

  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    // As Ctrl-C on a terminal does it.
    signalGroup(child, 'SIGINT')
    const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
  }
}

/** To the process and all that it started in turn. */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // It has ended by itself.
  }
}

/** The first match in a line of its standard output. */
export async function lineOf(
  child: ChildProcess,
  pattern: RegExp,
  timeoutMs: number,
): Promise<RegExpExecArray> {
  const { stdout } = child
  if (stdout === null) throw new Error('its standard output is not ours to read')
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new Error(`no line like ${pattern}: ${why}`))
    const timer = setTimeout(() => fail(`none in ${timeoutMs} ms`), timeoutMs)
    const lines = createInterface({ input: stdout })
    lines.on('line', (line) => {
      const match = pattern.exec(line)
      if (match === null) return
      clearTimeout(timer)
      resolve(match)
    })
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code) => fail(`it ended with ${code}`))
  })
}

/** Ends the benchmark with exit code 2 when a program it needs is not there. */
export function needProgram(program: string, debianPackage: string): void {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined) return
  process.stderr.write(`${program} is not installed; on Debian: apt-get install ${debianPackage}\n`)
  process.exit(2)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2
}
