/**
 * Invariant 8: no ballot carries two values, and what an acceptor promised never falls, neither across a
 * restart. Watched where it matters, in the bytes that each peer puts on its disk.
 */
import { type Bytes, equalBytes } from '../../base/bytes.ts'
import { decodeVotes, VOTES_FILE } from '../../cluster/votes.ts'
import { type Ballot, compareBallots, type Votes } from '../../protocol/synod.ts'
import { Violation } from './violation.ts'

export interface VotesChecker {
  /** A small file is on a host's disk. Others than votes are passed over. */
  wrote(host: string, file: string, bytes: Bytes | null): void
  readonly voteCount: number
}

export function createVotesChecker(): VotesChecker {
  /** By acceptorId. */
  const newest = new Map<string, Votes>()
  const values = new Map<string, Bytes>()
  return {
    get voteCount() {
      return values.size
    },
    wrote(host, file, bytes) {
      if (file !== VOTES_FILE || bytes === null) return
      const votes = decodeVotes(bytes)
      const before = newest.get(votes.acceptorId)
      if (before !== undefined && fell(before, votes)) {
        const now = `${votes.number}/${show(votes.promised)}`
        throw new Violation(
          8,
          `${host}'s promise fell from ${before.number}/${show(before.promised)} to ${now}`,
        )
      }
      newest.set(votes.acceptorId, votes)
      if (votes.accepted === null) return
      const { ballot, value } = votes.accepted
      const name = `${votes.number}/${show(ballot)}`
      const known = values.get(name)
      if (known === undefined) values.set(name, value)
      else if (!equalBytes(known, value)) throw new Violation(8, `ballot ${name} carries two values`)
    },
  }
}

function fell(before: Votes, after: Votes): boolean {
  if (after.number !== before.number) return after.number < before.number
  if (before.promised === null) return false
  return after.promised === null || compareBallots(after.promised, before.promised) < 0
}

function show(ballot: Ballot | null): string {
  return ballot === null ? 'none' : `${ballot.round}.${ballot.nodeId}.${ballot.bootNonce}`
}
