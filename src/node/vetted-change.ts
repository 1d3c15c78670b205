/**
 * What stands in the way of a change that a person asked for, said at once and in his words: peers by their
 * addresses, and who is missing where too few are there to decide anything.
 */
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { NodeId } from '../base/ids.ts'
import type { Configuration } from '../protocol/configuration.ts'

export type Change = (configuration: Configuration) => Configuration

export interface VettingHost {
  /** Believed to be down: of one that was never met nobody knows. */
  readonly isDown: (nodeId: NodeId) => boolean
  /** Null: nobody knows. */
  readonly addressOf: (nodeId: NodeId) => string | null
}

/**
 * The same change, which throws what `change` does with addresses in it, and UNAVAILABLE where nothing can be
 * decided: whoever asked would wait in vain, and could not tell whether it comes about.
 */
export function vetted(host: VettingHost, change: Change): Change {
  return (base) => {
    const next = readable(host, base, change)
    const why = next === base ? null : missingMajority(host, base)
    if (why !== null) throw new KvError('UNAVAILABLE', `nothing was changed: ${why}`)
    return next
  }
}

/** Who is missing of those that decide, as a sentence; null: enough of them may be there. */
export function missingMajority(host: VettingHost, { acceptors }: Configuration): string | null {
  const down = acceptors.filter(({ nodeId }) => host.isDown(nodeId)).map(({ nodeId }) => nodeId)
  if (2 * down.length < acceptors.length) return null
  const names = firstFew(down.map((nodeId) => host.addressOf(nodeId) ?? nodeId).sort())
  // Not that they are down: on the small side of a split they run.
  const most = 'the ring and the keyspaces change only while most of them can'
  const { length } = acceptors
  const voters = length === 1 ? 'one peer that votes' : `${length} peers that vote`
  return `of the ${voters} about the ring ${names} cannot be reached from here, and ${most}`
}

/** With addresses: ids are long and random, so one in a text is that peer's. */
export function withAddresses(
  { addressOf }: Pick<VettingHost, 'addressOf'>,
  { members, staged }: Configuration,
  text: string,
): string {
  return [...members, ...staged].reduce((shown, { nodeId }) => {
    return shown.replaceAll(nodeId, addressOf(nodeId) ?? nodeId)
  }, text)
}

/** @throws what `change` throws, with addresses */
export function readable<T>(
  host: Pick<VettingHost, 'addressOf'>,
  base: Configuration,
  change: (base: Configuration) => T,
): T {
  try {
    return change(base)
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    throw new KvError(error.code, withAddresses(host, base, error.message), { cause: error })
  }
}
