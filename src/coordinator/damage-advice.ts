/** What a person may do about a peer whose disk does not give all that it holds. */
import type { NodeId } from '../base/ids.ts'
import type { Ring } from '../protocol/ring.ts'
import { canDoWithout } from '../protocol/ring-change.ts'

const BACKUP = 'bring its data directory back from a backup'
const REMOVE = "stop it and use 'kvctl remove', which is refused where something would be lost"
const WIPE = 'while all other members are up and lack nothing, start it with an empty data directory'

/**
 * To start with an empty directory throws away what can be read, too, and nothing refuses that: it is not
 * said where the peer may have the only copies of something.
 * @param ring null before the first configuration
 */
export function damageAdvice(ring: Ring | null, nodeId: NodeId): string {
  const isEnough = ring !== null && canDoWithout(ring, nodeId)
  return isEnough ? `${REMOVE}; or, ${WIPE}` : `${BACKUP}, for it may have the only copies of other keys`
}
