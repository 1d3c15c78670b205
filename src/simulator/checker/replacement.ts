/** Which writes may have replaced a value, by what clients were told. */
import { covers } from '../../protocol/dvv.ts'
import type { Dot, DotSet } from '../../protocol/record.ts'
import type { WriteOperation } from '../history.ts'
import type { DotLedger } from './dot-ledger.ts'

/**
 * Whether a write may have replaced a value, under each name that it had. One with an unknown outcome may
 * have been applied, at any time. An acknowledged one without a context replaced what its reply covers,
 * unless it came twice and the second copy was answered first: that copy finds the write done, and what was
 * replaced then nobody knows any more, so its reply is the write's own dot and nothing else (`Write`,
 * `#replicateAgain`). That is less than the truth, and does no harm to whoever uses it as a context; but as
 * an excuse it would be too little. Then the record counts in which that dot first came to a disk.
 */
export function mayHaveReplaced(write: WriteOperation, dots: readonly Dot[], ledger: DotLedger): boolean {
  const { context, outcome, reply } = write
  if (outcome === 'nothing') return false
  if (context !== null) return dots.every((dot) => covers(context, dot))
  if (outcome !== 'ok' || reply === null) return true
  const own = onlyDot(reply)
  return dots.every((dot) => covers(reply, dot) || (own !== null && ledger.cameInPlaceOf(own, dot)))
}

/** Of a set that has no other one. */
function onlyDot({ vector, loose }: DotSet): Dot | null {
  return vector.size === 0 && loose.length === 1 ? (loose[0] as Dot) : null
}
