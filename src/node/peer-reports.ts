/** What peers say of their own stores, for `kvctl status` and `kvctl hints`. */
import type { NodeId } from '../base/ids.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Store } from '../store/store.ts'
import type { PeerReply } from '../wire/peer-messages.ts'

const INQUIRY_TIMEOUT_MS = 1000

export type PeerReport = Omit<Extract<PeerReply, { type: 'report' }>, 'type' | 'id'>

/** @param catchingUp how far it has come since it lost data, in words; null: it lacks nothing */
export function reportOf(store: Store, catchingUp: string | null): PeerReport {
  const { keys, bytes } = store.totalCounts
  const hintsFor = [...store.standIns.counts()].map(([nodeId, count]) => ({ nodeId, ...count }))
  const hints = store.standIns.total.records
  const quarantined = store.quarantine.size
  return { keys, bytes, hints, hintsFor, isCounting: !store.countsAreExact, catchingUp, quarantined }
}

/** Null when it does not answer in time. */
export async function askReport(rpc: Rpc, nodeId: NodeId): Promise<PeerReport | null> {
  try {
    const reply = await rpc.call(nodeId, 'control', INQUIRY_TIMEOUT_MS, (id) => ({ type: 'inquire', id }))
    return reply.type === 'report' ? reply : null
  } catch {
    return null // Whoever asked shows that by having no numbers.
  }
}
