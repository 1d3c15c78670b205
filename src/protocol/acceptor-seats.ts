/**
 * Who votes about the ring once somebody was given up: an excluded acceptor is as good as dead, and with one
 * more that dies, or loses its votes with its disk, nothing might ever be decided again. So its seat is given
 * to another member at *exclude*, not only at *finish*, which may come hours later.
 *
 * Only where the ring bears more deaths afterwards: with fewer left the new set is smaller too, and the old
 * one stays, for who was given up may be up again, and votes until then.
 */
import type { Acceptor, Configuration } from './configuration.ts'
import { electAcceptors } from './configuration-change.ts'
import { majority } from './synod.ts'

/** Somebody who votes is excluded with this configuration and was not before. */
export function losesAcceptor(before: Configuration, next: Configuration): boolean {
  return next.acceptors.some(
    ({ nodeId }) => next.excluded.includes(nodeId) && !before.excluded.includes(nodeId),
  )
}

/**
 * @param next what is to be proposed
 * @param electable who acknowledged the configuration before; whether they have all their data does not
 * matter to their votes
 * @returns the same with others in the seats of those who are excluded; or the very same
 */
export function reseat(next: Configuration, electable: readonly Acceptor[]): Configuration {
  const { members, excluded, acceptors } = next
  const isLeft = ({ nodeId }: Acceptor): boolean => !excluded.includes(nodeId)
  const able = electable.filter(isLeft)
  if (able.length === 0) return next
  const elected = electAcceptors(members, able, acceptors)
  const spare = elected.length - majority(elected.length)
  return spare > acceptors.filter(isLeft).length - majority(acceptors.length)
    ? { ...next, acceptors: elected }
    : next
}
