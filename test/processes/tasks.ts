/** Waiting for what `kvctl tasks` tells of. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../../src/index.ts'
import type { TaskInfo } from '../../src/wire/tasks.ts'

const PATIENCE_MS = 300_000
const POLL_MS = 100

/** Waits until there are tasks as wanted. @param wanted null: not yet */
export async function tasksOf(
  client: Client,
  wanted: (tasks: readonly TaskInfo[]) => readonly TaskInfo[] | null,
  pollMs = POLL_MS,
): Promise<readonly TaskInfo[]> {
  const deadlineMs = performance.now() + PATIENCE_MS
  for (;;) {
    const { tasks } = await client.service.tasks()
    const found = wanted(tasks)
    if (found !== null) return found
    if (performance.now() > deadlineMs) throw new Error(`still ${JSON.stringify(tasks)}`)
    await sleep(pollMs)
  }
}

/** Waits until so many peers have their hash trees. */
export function rebuilt(client: Client, peerCount: number): Promise<readonly TaskInfo[]> {
  return tasksOf(client, (tasks) => {
    const done = tasks.filter(({ kind, state }) => kind === 'rebuild' && state === 'done')
    return done.length >= peerCount ? done : null
  })
}

/** Waits until so many parts of a round of repair have ended. */
export function roundEnded(client: Client, name: string, partCount: number): Promise<readonly TaskInfo[]> {
  return tasksOf(client, (tasks) => {
    const done = tasks.filter((task) => task.round === name && task.endedAgoMs !== null)
    return done.length >= partCount ? done : null
  })
}
