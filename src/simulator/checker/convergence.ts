/**
 * Invariant 5: once all is well, everyone soon sees the same: the same configuration, nobody who runs called
 * dead, nobody who is down called alive.
 */
import { isUp } from '../../protocol/membership/peer.ts'
import type { SimPeer } from '../simulation.ts'

/** What the peers that are up do not agree about, in words; null when all is as it should be. */
export function findDisagreement(up: readonly SimPeer[], down: SimPeer | null): string | null {
  const unready = up.find((peer) => peer.state !== 'ready' || peer.isPaused)
  if (unready !== undefined) return `${unready.host} is ${unready.isPaused ? 'paused' : unready.state}`
  const first = up[0]?.node?.configuration ?? null
  for (const peer of up) {
    const current = peer.node?.configuration ?? null
    if (current === null) return `${peer.host} has no configuration`
    if (current.number !== first?.number) {
      return `${up[0]?.host} has configuration ${first?.number}, ${peer.host} has ${current.number}`
    }
    if (peer.node?.isWhole !== true) return `${peer.host} has not made good what its disk lost`
    const flaw = findWrongView(peer, up, down)
    if (flaw !== null) return flaw
  }
  if (first !== null && first.phase !== 'stable')
    return `the ring change of configuration ${first.number} is open`
  return null
}

/** Stand-in records that peers still keep for somebody who is up, in words; null: none. */
export function findUndelivered(up: readonly SimPeer[], down: SimPeer | null): string | null {
  const downId = up
    .flatMap((peer) => peer.node?.membership.peers() ?? [])
    .find(({ address }) => address === down?.address)?.nodeId
  for (const { host, node } of up) {
    for (const [target, { records }] of node?.standIns ?? []) {
      if (target !== downId) return `${host} still keeps ${records} records for ${target}`
    }
  }
  return null
}

function findWrongView(peer: SimPeer, up: readonly SimPeer[], down: SimPeer | null): string | null {
  const views = peer.node?.membership.peers() ?? []
  for (const other of up) {
    if (other === peer) continue
    const view = views.find(({ address }) => address === other.address)
    if (view === undefined) return `${peer.host} does not know ${other.host}`
    if (view.state !== 'alive') return `${peer.host} calls ${other.host} ${view.state}, but it runs`
  }
  const ghost = views.find(({ address, state }) => address === down?.address && isUp(state))
  return ghost === undefined ? null : `${peer.host} calls ${down?.host} ${ghost.state}, but it is down`
}
