/** What a peer's log says about the others, at the millisecond it changed its mind. */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../src/api/connect.ts'
import type { PeerProcess } from '../processes/peers.ts'

const POLL_MS = 20

export interface Opinion {
  /** Wall-clock ms. */
  readonly atMs: number
  readonly observer: PeerProcess
  /** Of whom. */
  readonly nodeId: string
  readonly state: string
}

/** The node ids of peers that are up, in their order. */
export async function nodeIdsOf(peers: readonly PeerProcess[]): Promise<readonly string[]> {
  return Promise.all(
    peers.map(async ({ address }) => {
      const client = await connect(address, { pinned: true })
      const { nodeId } = await client.service.status()
      client.close()
      return nodeId
    }),
  )
}

/** Changes of opinion in the running life of a peer since a moment, in order. */
export function opinionsOf(observer: PeerProcess, sinceMs: number): readonly Opinion[] {
  return observer.log.split('\n').flatMap((line) => {
    if (!line.includes('"membership.changed"')) return []
    const { time, nodeId, state } = JSON.parse(line) as { time: string; nodeId: string; state: string }
    const atMs = Date.parse(time)
    return atMs < sinceMs ? [] : [{ atMs, observer, nodeId, state }]
  })
}

/**
 * Waits until every observer's last word on the peer, since the given moment, is that state, and gives the
 * moment at which the last one came to think so; null when that does not happen in time.
 */
export async function agreedAtMs(
  observers: readonly PeerProcess[],
  nodeId: string,
  state: string,
  sinceMs: number,
  timeoutMs: number,
): Promise<number | null> {
  const deadlineMs = Date.now() + timeoutMs
  for (;;) {
    const last = observers.map((observer) =>
      opinionsOf(observer, sinceMs).findLast((opinion) => opinion.nodeId === nodeId),
    )
    if (last.every((opinion) => opinion?.state === state))
      return Math.max(...last.map((opinion) => opinion?.atMs ?? 0))
    if (Date.now() > deadlineMs) return null
    await sleep(POLL_MS)
  }
}
