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
import type { TaskInfo } from '../../src/wire/tasks.ts'
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
const POLL_MS = 20

/** What was told when, in ms since the other peers saw it. */
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
  askUntil(async () => {
    const { change } = (await client.service.status()).layout
    return change === null || !/\bjoins?\b/.test(change.what) ? null : change
  }),
  askUntil(async () => {
    const { tasks } = await client.service.tasks()
    const isNew = ({ kind, peerAddress }: TaskInfo): boolean => kind === 'takeover' && !known.has(peerAddress)
    const task = tasks.find((one) => isNew(one) && one.state === 'running')
    return task === undefined ? null : { what: `${task.peerAddress} takes over`, leftMs: task.leftMs }
  }),
])
const shown = await Promise.all(
  ['status', 'tasks'].map((name) => run('kvctl', [name, '--peer', asked.address])),
)
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
const [status, tasks] = shown.map(({ stdout }) => stdout)
const isShown = /1 peer joins; .*left$/m.test(status ?? '') && /^takeover .*running/m.test(tasks ?? '')
verdict.check('kvctl shows it to people', isShown ? 'yes' : 'no', 'yes', isShown)
for (const text of [status, tasks]) verdict.remark(text ?? '')
await verdict.print(words.json ? { told, tookMs } : null)

/** @returns when another peer knew of it */
async function firstSeen(): Promise<number> {
  while ((await client.service.status()).peers.length <= PEERS) await sleep(POLL_MS)
  return performance.now()
}

/** Asks again and again, as `kvctl` does. Null: it was never told, and the change is over. */
async function askUntil(
  ask: () => Promise<{ readonly what: string; readonly leftMs: number | null } | null>,
): Promise<Told | null> {
  for (let isOver = false; !isOver; await sleep(POLL_MS)) {
    isOver = isFormed(await client.service.status(), PEERS + 1)
    const found = await ask()
    const leftMs = found?.leftMs ?? null
    if (found !== null && leftMs !== null) {
      return { atMs: performance.now() - seenMs, what: found.what, leftMs }
    }
  }
  return null
}
