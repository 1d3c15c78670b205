/** Worker processes, each with one order at a time; orders wait for a free one. */
import { type ChildProcess, fork } from 'node:child_process'
import type { Order, Result } from './messages.ts'

export interface Pool {
  /** Rejects when the worker process ends without an answer. */
  perform(order: Order): Promise<Result>
  close(): void
}

interface Waiting {
  readonly order: Order
  resolve(result: Result): void
  reject(error: Error): void
}

/**
 * Threads that help to collect garbage only get in the way of as many workers as there are cores. Most
 * objects live for one event of the run: the more room the young ones have, the fewer are copied.
 */
const EXEC_ARGV = [
  '--enable-source-maps',
  '--single-threaded-gc',
  '--min-semi-space-size=128',
  '--max-semi-space-size=128',
]

export function createPool(file: string, size: number): Pool {
  const idle: ChildProcess[] = []
  const all = new Set<ChildProcess>()
  const waiting: Waiting[] = []

  const start = (): ChildProcess => {
    const child = fork(file, { execArgv: EXEC_ARGV, serialization: 'advanced' })
    all.add(child)
    child.on('exit', () => all.delete(child))
    return child
  }

  const next = (child: ChildProcess): void => {
    const work = waiting.shift()
    if (work === undefined) {
      idle.push(child)
      return
    }
    const ended = (code: number | null): void => {
      work.reject(new Error(`the process that ran seed ${work.order.seed} ended with ${code}`))
    }
    child.once('exit', ended)
    child.once('message', (result) => {
      child.off('exit', ended)
      work.resolve(result as Result)
      next(child)
    })
    child.send(work.order)
  }

  return {
    perform(order) {
      return new Promise((resolve, reject) => {
        // What a failure needs comes before the seeds that have not been begun.
        if (order.type === 'shrink') waiting.unshift({ order, resolve, reject })
        else waiting.push({ order, resolve, reject })
        const child = idle.pop() ?? (all.size < size ? start() : undefined)
        if (child !== undefined) next(child)
      })
    },
    close() {
      for (const child of all) child.kill()
    },
  }
}
