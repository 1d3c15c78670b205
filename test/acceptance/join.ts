/**
 * Whoever starts one more peer sees at once what that brings: `kvctl status` says that a peer joins and how
 * far it is, `kvctl tasks` what it takes over, and both how long it will take.
 *
 * Usage: npm run accept:join -- [--keys 300000] [--json]
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from '../../src/index.ts'
import {
  endAll,
  isFormed,
  PeerProcess,
  run,
  scratchDirectory,
  startCluster,
  until,
} from '../processes/peers.ts'
import { rebuilt } from '../processes/tasks.ts'
import { refill } from './filled-disk.ts'
import { milliseconds, Verdict } from './verdict.ts'

const PEERS = 3
const BOUND_MS = 1000
const PATIENCE_MS = 300_000
const POLL_MS = 50
const SEEN_POLL_MS = 10

/** What is looked at in the answers, as scripts have them. */
interface StatusAnswer {
  readonly layout: {
    readonly phase: string
    readonly change: { readonly what: string; readonly leftMs: number | null } | null
  }
}

interface TasksAnswer {
  readonly tasks: readonly {
    readonly kind: string
    readonly state: string
    readonly peerAddress: string
    readonly leftMs: number | null
  }[]
}

/** When it was told, in ms since the other peers saw it. */
interface Told {
  readonly atMs: number
  readonly what: string
  readonly leftMs: number
}

const { values: words } = parseArgs({
  options: { keys: { type: 'string', default: '300000' }, json: { type: 'boolean', default: false } },
})
const keys = Number(words.keys)
const verdict = new Verdict(`one more peer, ${keys} keys`)
const peers = await startCluster(PEERS)
const [asked] = peers as [PeerProcess]
await refill(
  peers,
  'default',
  keys,
  peers.map(() => () => false),
)
await Promise.all(peers.map((peer) => peer.start()))
await until(peers, (status) => isFormed(status, PEERS), PATIENCE_MS)
const client = await connect(asked.address, { pinned: true })
await rebuilt(client, PEERS)
const joiner = new PeerProcess(join(scratchDirectory(), 'joiner'), {
  args: ['--join', asked.address],
  readyTimeoutMs: PATIENCE_MS,
})
const startMs = performance.now()
const joining = joiner.start()
const known = new Set(peers.map(({ address }) => address))
const seenMs = await firstSeen()
const told = await Promise.all([
  askUntil('status', (answer: StatusAnswer) => {
    const { change } = answer.layout
    return change === null || !/\bjoins?\b/.test(change.what) ? null : change
  }),
  askUntil('tasks', ({ tasks }: TasksAnswer) => {
    const task = tasks.find(({ kind, state, peerAddress }) => {
      return kind === 'takeover' && state === 'running' && !known.has(peerAddress)
    })
    return task === undefined ? null : { what: `${task.peerAddress} takes over`, leftMs: task.leftMs }
  }),
])
const shown = await Promise.all([run('kvctl', asking('status')), run('kvctl', asking('tasks'))])
await joining
await until([...peers, joiner], (status) => isFormed(status, PEERS + 1), PATIENCE_MS)
const tookMs = performance.now() - seenMs
client.close()
await endAll([...peers, joiner])
for (const [i, command] of ['kvctl status', 'kvctl tasks'].entries()) {
  const first = told[i] ?? null
  const when = first === null ? 'never' : `${milliseconds(first.atMs)}: ${first.what}`
  verdict.check(`${command} says what happens`, when, `< ${BOUND_MS} ms`, (first?.atMs ?? tookMs) < BOUND_MS)
  const left = first === null ? 'never' : `about ${milliseconds(first.leftMs)} left`
  verdict.note('… and how long it takes', left)
}
verdict.note('from its start until the others saw it', milliseconds(seenMs - startMs))
verdict.note('from then until it owned its part', milliseconds(tookMs))
for (const { stdout } of shown) verdict.remark(stdout)
await verdict.print(words.json ? { told, tookMs } : null)

function asking(command: string, ...more: readonly string[]): string[] {
  return [command, '--peer', asked.address, ...more]
}

/** @returns when another peer knew of it */
async function firstSeen(): Promise<number> {
  while ((await client.service.status()).peers.length <= PEERS) await sleep(SEEN_POLL_MS)
  return performance.now()
}

/** Asks again and again, as somebody would who watches. Null: it was never told, and the change is over. */
async function askUntil<A>(
  command: string,
  find: (answer: A) => { readonly what: string; readonly leftMs: number | null } | null,
): Promise<Told | null> {
  for (let isOver = false; !isOver; ) {
    isOver = isFormed(await client.service.status(), PEERS + 1)
    const { code, stdout, stderr } = await run('kvctl', asking(command, '--json'))
    if (code !== 0) throw new Error(`kvctl ${command} ended with ${code}: ${stderr}`)
    const found = find(JSON.parse(stdout) as A)
    const leftMs = found?.leftMs ?? null
    if (found !== null && leftMs !== null)
      return { atMs: performance.now() - seenMs, what: found.what, leftMs }
    await sleep(POLL_MS)
  }
  return null
}
