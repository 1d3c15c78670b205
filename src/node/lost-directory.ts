/** What a start finds missing, and as whom it goes on. */
import { KvError } from '../base/error.ts'
import { type Address, type NodeId, splitAddress } from '../base/ids.ts'
import type { Pauses } from '../cluster/pauses.ts'
import { askForPlaces, judgePlace, type PlaceVerdict } from '../cluster/vacant-place.ts'
import type { Effects } from '../effects/effects.ts'
import type { LossCause } from '../store/completeness.ts'
import type { Store } from '../store/store.ts'
import type { KnownPlaces } from '../wire/handshake-messages.ts'
import type { Identity } from './identity.ts'

const ASK_AGAIN_MS = 200
const LOG_INTERVAL_MS = 10_000
/** Of the addresses that a line names. */
const MAX_LISTED = 5

export interface EmptyPlace {
  readonly identity: Identity
  readonly join: readonly Address[]
  /** Whose place it was told to take; null: nobody's. */
  readonly replace: string | null
  /** Where others find this peer. */
  readonly address: Address
  /** Where it listens. */
  readonly listening: Address
  readonly pauses: Pauses
  isStopped(): boolean
}

/**
 * With an empty directory and peers to join: waits until it is clear whether a member of theirs was here, and
 * goes on as that.
 * @returns whether it does @throws UNAVAILABLE: stopped meanwhile; INVALID_ARGUMENT: nobody is to be joined
 * but this peer itself, or nobody at all where somebody is to be replaced
 */
export async function takeVacantPlace(
  effects: Pick<Effects, 'clock' | 'network' | 'log' | 'storage'>,
  { identity, join, replace, address, listening, pauses, isStopped }: EmptyPlace,
): Promise<boolean> {
  if (replace !== null && join.length === 0 && identity.clusterId === null) {
    const advice = 'name another peer of its cluster with --join, or leave --replace out to make a new one'
    throw new KvError(
      'INVALID_ARGUMENT',
      `nobody is to be joined where ${replace} is to be replaced: ${advice}`,
    )
  }
  if (identity.last !== null || join.length === 0) return false
  if (join.every((other) => leadsHere(other, address, listening))) {
    const advice = 'name a peer of the cluster, or leave --join out to make a new one'
    throw new KvError('INVALID_ARGUMENT', `this peer is told to join itself at ${address}: ${advice}`)
  }
  const answers = new Map<NodeId, KnownPlaces>()
  const { clock, log } = effects
  let verdict: PlaceVerdict = judgePlace(address, [])
  let logAtMs = clock.monotonic() + LOG_INTERVAL_MS
  while (!isStopped()) {
    const toAsk = new Set([...join, ...(verdict.kind === 'undecided' ? verdict.toAsk : [])])
    toAsk.delete(address)
    for (const answer of await askForPlaces(effects, [...toAsk])) answers.set(answer.from, answer)
    verdict = judgePlace(address, [...answers.values()])
    if (verdict.kind === 'free') return false
    if (verdict.kind === 'vacant') {
      const { nodeId, generation } = verdict.vacancy
      identity.takePlace(verdict.vacancy)
      const advice = 'its data is fetched from the others; what only it had is lost'
      log.warn('node.took_place', { nodeId, generation, directory: effects.storage.name, advice })
      return true
    }
    if (clock.monotonic() >= logAtMs) {
      const asked = answers.size > 0 ? '' : `; still asking ${[...toAsk].slice(0, MAX_LISTED).join(', ')}`
      log.warn('node.waits', { reason: `${verdict.waitsFor}${asked}` })
      logAtMs += LOG_INTERVAL_MS
    }
    await pauses.pause(ASK_AGAIN_MS)
  }
  throw new KvError('UNAVAILABLE', 'this peer was stopped before it was ready')
}

const LOOPBACK = /^(localhost|::1|127\.\d+\.\d+\.\d+)$/
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** True: it is an address of this peer, or a name that this machine has for itself, with this peer's port. */
function leadsHere(other: Address, address: Address, listening: Address): boolean {
  if (other === address || other === listening) return true
  const [there, here] = [splitAddress(other), splitAddress(listening)]
  if (there.port !== here.port || !LOOPBACK.test(there.host)) return false
  const isName = there.host === 'localhost' || here.host === 'localhost'
  if (!WILDCARDS.has(here.host)) return isName && LOOPBACK.test(here.host)
  return here.host === '::' || there.host !== '::1'
}

/** Why this life of the store begins with data missing; null: it does not. */
export function findLoss(
  identity: Identity,
  store: Store,
  how: { readonly tookPlace: boolean; readonly isRolledBack: boolean },
): LossCause | null {
  if (how.tookPlace) return 'wiped'
  if (how.isRolledBack) return 'rolledBack'
  const known = identity.storeId
  return known !== null && known !== store.storeId ? 'replaced' : null
}
