/** What a command prints, how it fails and with which exit code. */
import { KvError } from '../../src/base/error.ts'

interface Output {
  readonly out: string
  readonly err: string
  readonly exitCode: number
  readonly error: KvError | null
}

/** @returns what it wrote, instead of writing it */
export async function printed(run: () => Promise<void>): Promise<Output> {
  const { stdout, stderr, exitCode } = process
  const writes = { out: stdout.write, err: stderr.write }
  const text = { out: '', err: '' }
  const keep = (which: 'out' | 'err') => (chunk: string) => {
    text[which] += chunk
    return true
  }
  stdout.write = keep('out') as typeof stdout.write
  stderr.write = keep('err') as typeof stderr.write
  let error: KvError | null = null
  try {
    await run()
  } catch (thrown) {
    if (!(thrown instanceof KvError)) throw thrown
    error = thrown
  }
  stdout.write = writes.out
  stderr.write = writes.err
  const ended = { ...text, exitCode: Number(process.exitCode ?? 0), error }
  process.exitCode = exitCode
  return ended
}
