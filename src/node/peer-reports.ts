/** What peers say of their own stores, for `kvctl status` and `kvctl hints`. */
import type { NodeId } from '../base/ids.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Store } from '../store/store.ts'
import type { PeerReply } from '../wire/peer-messages.ts'

const INQUIRY_TIMEOUT_MS = 1000

export type PeerReport = Omit<Extract<PeerReply, { type: 'report' }>, 'type' | 'id'>

/** What a peer says about itself, in words; null: there is nothing to say. */
export interface Complaints {
  /** How far it has come since it lost data. */
  readonly catchingUp: string | null
  /** Why nothing has been purged for a while. */
  readonly purgeWaits: string | null
  /** Why no change of the ring goes on, or begins, until a person does something here. */
  readonly ringWaits: string | null
  /** What it copies for the open change of the ring; null: nothing. */
  readonly takeover: PeerReport['takeover']
}

const NO_COMPLAINTS: Complaints = { catchingUp: null, purgeWaits: null, ringWaits: null, takeover: null }
const MAX_WORDS = 1000

export function reportOf(
  store: Store,
  { catchingUp, purgeWaits, ringWaits, takeover }: Complaints = NO_COMPLAINTS,
): PeerReport {
  const { keys, bytes } = store.inventory.counts.total
  const hintsFor = [...store.standIns.counts()].map(([nodeId, count]) => ({ nodeId, ...count }))
  const hints = store.standIns.total.records
  const quarantined = store.quarantine.size
  const { count: damaged, restored, lostLeaves } = store.damage
  const disk = { damaged, restored, lostLeaves, outage: store.outage }
  return {
    keys,
    bytes,
    hints,
    hintsFor,
    isCounting: !store.inventory.isExact,
    catchingUp,
    quarantined,
    ...disk,
    dotClashes: store.clashes.count,
    hintsQuarantined: store.standIns.quarantined,
    purgeWaits: purgeWaits?.slice(0, MAX_WORDS) ?? null,
    ringWaits: ringWaits?.slice(0, MAX_WORDS) ?? null,
    takeover,
    overfull: store.overfull.count,
  }
}

/** Sentences for people about a disk that is away, and about data that is not what was written. */
export function dataWarnings(address: string, report: PeerReport | null): string[] {
  const { damaged, restored, lostLeaves, dotClashes, outage, ringWaits } = report ?? {}
  const { hintsQuarantined, overfull } = report ?? {}
  const warnings: string[] = []
  if ((outage ?? null) !== null) warnings.push(`${address} can neither read nor write: ${outage}`)
  if ((ringWaits ?? null) !== null) warnings.push(`${address} ${ringWaits}`)
  if ((damaged ?? 0) > 0) {
    const cause = 'more of their other owners must be up, and not be catching up'
    warnings.push(`${address} cannot read ${damaged} of its records, and has not got them back yet: ${cause}`)
  }
  if ((restored ?? 0) > 0) {
    const done = 'they were restored from other owners'
    warnings.push(`the disk of ${address} damaged ${restored} records, ${done}: look at that disk`)
  }
  if ((lostLeaves ?? 0) > 0) {
    const what = `the disk of ${address} lost records that it had on it (${lostLeaves} leaves of hash trees)`
    warnings.push(`${what}: owners that still have them bring them back; replace that disk`)
  }
  if ((hintsQuarantined ?? 0) > 0) {
    const what = `${address} has ${hintsQuarantined} hints in quarantine, damaged or from before it lost data`
    warnings.push(
      `${what}: a write that no other peer has is only there; keep that directory, look at the disk`,
    )
  }
  if ((dotClashes ?? 0) > 0) {
    const what = `${address} met ${dotClashes} values under the name of another value`
    warnings.push(
      `${what}, one of each two is lost: was a data directory copied? stop all but one of its peers`,
    )
  }
  if ((overfull ?? 0) > 0) {
    const what = `${address} met ${overfull} keys with more concurrent values than a record can hold`
    warnings.push(
      `${what}, so their owners differ (its log names them): put or delete each without a context`,
    )
  }
  return warnings
}

/** Peers mostly wait for the same: each reason once. */
export function purgeWarnings(reports: Iterable<PeerReport | null>): string[] {
  return [...new Set([...reports].flatMap((report) => report?.purgeWaits ?? []))]
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
