/** Peers as processes, and a way to cut them off from each other. Peers are numbered from 0. */
import { join } from 'node:path'
import { isFormed, PeerProcess, scratchDirectory, until } from '../processes/peers.ts'

export interface PartitionNetwork {
  /** For people: what does the cutting. */
  readonly name: string
  /** Not before `start`. */
  readonly peers: readonly PeerProcess[]
  /** Peers that are all up and own their share of the ring. */
  start(count: number): Promise<void>
  /** No two peers of distinct groups reach each other; nothing changes between others. */
  partition(groups: readonly (readonly number[])[]): Promise<void>
  /** What `from` sends to `to` is lost. */
  cutOneWay(from: number, to: number): Promise<void>
  heal(): Promise<void>
}

/** Words for `kvnode start` and a program that runs it, by number. */
export interface PeerPlan {
  readonly args: readonly string[]
  readonly wrapper: readonly string[]
}

export async function startPeers(
  count: number,
  planOf: (index: number) => PeerPlan,
): Promise<readonly PeerProcess[]> {
  const directory = scratchDirectory()
  const make = (index: number, more: readonly string[]): PeerProcess => {
    const { args, wrapper } = planOf(index)
    return new PeerProcess(join(directory, String(index)), { args: [...args, ...more], wrapper })
  }
  const first = make(0, [])
  await first.start()
  const others = Array.from({ length: count - 1 }, (_, i) => make(i + 1, ['--join', first.address]))
  await Promise.all(others.map((peer) => peer.start()))
  const peers = [first, ...others]
  await until(peers, (status) => isFormed(status, count))
  return peers
}
