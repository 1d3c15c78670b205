/**
 * The Synod: single-decree Paxos, one instance for each configuration number (Lamport, "Paxos Made Simple",
 * 2001, section 2; "The Part-Time Parliament", 1998, section 2).
 *
 * Intuition. A proposer first asks a majority of acceptors to promise a ballot of its own: to ignore lower
 * ballots from now on, and to tell what they voted for last. Any two majorities share an acceptor, so if a
 * value may have been chosen already, at least one of them tells it; the proposer then has to propose that
 * value instead of its own. A majority of votes in one ballot chooses.
 *
 * Invariant. For each number at most one value is ever chosen. It rests on: no ballot carries two values (a
 * ballot holds the proposer's nodeId and the nonce of its boot, and within a boot it never uses a round
 * twice); an acceptor's promise never falls, also not across a restart (what `answer` returns is on disk
 * before the answer leaves); an acceptor that lost its votes has a new acceptorId, and no vote until a later
 * configuration names it.
 *
 * Deviations. An acceptor takes part in number i+1 only while it knows i, the newest decided number, and i
 * names it: so each number has its own set of acceptors with no protocol for changing it, and votes of older
 * numbers need not be kept. Asked about an older number it says that it was decided; about a newer one, that
 * it is behind. Refusals are said aloud, "as an optimization" (section 2.5), so that a proposer need not wait
 * for a timeout. There are no separate learners: the proposer counts the votes and spreads what was chosen.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import type { NodeId } from '../base/ids.ts'

/** Ordered by round, then nodeId, then bootNonce. */
export interface Ballot {
  /** 1 … 2^53-1. */
  readonly round: number
  readonly nodeId: NodeId
  readonly bootNonce: string
}

export interface Proposal {
  readonly ballot: Ballot
  readonly value: Bytes
}

/** What an acceptor has to remember, of the one number it votes on. */
export interface Votes {
  /** The highest number it ever took part in; 0: none yet. */
  readonly number: number
  /** It ignores lower ballots. */
  readonly promised: Ballot | null
  /** The vote it cast last. */
  readonly accepted: Proposal | null
}

export const NO_VOTES: Votes = { number: 0, promised: null, accepted: null }

/** What an acceptor knows from the newest decided configuration. */
export interface Standing {
  /** Its number; 0: none. */
  readonly decided: number
  /** Whether it names this very acceptor: nodeId and acceptorId. */
  readonly named: boolean
}

export type AcceptorRequest =
  | { readonly type: 'prepare'; readonly number: number; readonly ballot: Ballot }
  | { readonly type: 'vote'; readonly number: number; readonly ballot: Ballot; readonly value: Bytes }

/**
 * `promised`: a higher ballot was promised, the one told. `decided`: that number was decided long ago.
 * `behind`: the acceptor does not know the number before yet. `unnamed`: it has no vote.
 */
export const VOTE_REFUSALS = ['promised', 'decided', 'behind', 'unnamed'] as const
export type VoteRefusal = (typeof VOTE_REFUSALS)[number]

export type AcceptorAnswer =
  | {
      readonly type: 'promise'
      readonly number: number
      readonly ballot: Ballot
      readonly accepted: Proposal | null
    }
  | { readonly type: 'voted'; readonly number: number; readonly ballot: Ballot }
  | {
      readonly type: 'voteRefused'
      readonly number: number
      readonly ballot: Ballot
      readonly reason: VoteRefusal
      readonly promised: Ballot | null
    }

export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.round !== b.round) return a.round - b.round
  if (a.nodeId !== b.nodeId) return a.nodeId < b.nodeId ? -1 : 1
  if (a.bootNonce !== b.bootNonce) return a.bootNonce < b.bootNonce ? -1 : 1
  return 0
}

export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}

/**
 * One step of an acceptor. When the votes returned are not the ones given, they must be on disk before the
 * answer leaves; when that fails, no answer leaves.
 */
export function answer(
  votes: Votes,
  standing: Standing,
  request: AcceptorRequest,
): { readonly votes: Votes; readonly answer: AcceptorAnswer } {
  const { number, ballot } = request
  const refuse = (reason: VoteRefusal, promised: Ballot | null = null) => {
    return { votes, answer: { type: 'voteRefused', number, ballot, reason, promised } } as const
  }
  if (number <= standing.decided) return refuse('decided')
  // Votes on a higher number mean that the configuration we know was lost and is an old one: what it names
  // does not count.
  if (number > standing.decided + 1 || votes.number > number) return refuse('behind')
  if (!standing.named) return refuse('unnamed')

  const known: Votes = votes.number === number ? votes : { number, promised: null, accepted: null }
  const { promised, accepted } = known
  if (promised !== null && compareBallots(ballot, promised) < 0) return refuse('promised', promised)
  if (request.type === 'prepare') {
    const next =
      promised !== null && compareBallots(ballot, promised) === 0 ? known : { ...known, promised: ballot }
    return { votes: next, answer: { type: 'promise', number, ballot, accepted } }
  }
  if (accepted !== null && compareBallots(ballot, accepted.ballot) === 0) {
    // A ballot carries one value: a second one comes from somebody who broke the rules.
    if (!equalBytes(accepted.value, request.value)) return refuse('promised', promised)
    return { votes, answer: { type: 'voted', number, ballot } }
  }
  const next: Votes = { number, promised: ballot, accepted: { ballot, value: request.value } }
  return { votes: next, answer: { type: 'voted', number, ballot } }
}

/**
 * A proposer with one ballot. `preparing`: asks for promises. `voting`: asks for votes for `value`, which is
 * no longer its to change. `chosen`: `value` is decided. `lost`: too many acceptors refused; start again with
 * a ballot above `overtakenBy`.
 */
export interface Proposer {
  readonly number: number
  readonly ballot: Ballot
  readonly acceptors: readonly NodeId[]
  readonly stage: 'preparing' | 'voting' | 'chosen' | 'lost'
  /** Its own at first; from `voting` on what the promises oblige it to propose. */
  readonly value: Bytes
  /** Who said yes in this stage. */
  readonly agreed: ReadonlySet<NodeId>
  readonly refused: ReadonlySet<NodeId>
  /** The vote in the highest ballot that any promise told. */
  readonly highest: Proposal | null
  /** The highest ballot that a refusal told. */
  readonly overtakenBy: Ballot | null
}

/** @param ballot never used before for this number, whatever the value */
export function startProposer(
  number: number,
  ballot: Ballot,
  acceptors: readonly NodeId[],
  value: Bytes,
): Proposer {
  const nobody: ReadonlySet<NodeId> = new Set()
  return {
    number,
    ballot,
    acceptors,
    stage: 'preparing',
    value,
    agreed: nobody,
    refused: nobody,
    highest: null,
    overtakenBy: null,
  }
}

/**
 * What the proposer has to ask its acceptors in this stage; null when it is done. Asking again does no harm.
 */
export function question(proposer: Proposer): AcceptorRequest | null {
  const { number, ballot, value } = proposer
  if (proposer.stage === 'preparing') return { type: 'prepare', number, ballot }
  if (proposer.stage === 'voting') return { type: 'vote', number, ballot, value }
  return null
}

/** One step of a proposer. Late, repeated and foreign answers change nothing. */
export function receiveAnswer(proposer: Proposer, from: NodeId, reply: AcceptorAnswer): Proposer {
  if (proposer.stage === 'chosen' || proposer.stage === 'lost') return proposer
  if (!proposer.acceptors.includes(from) || reply.number !== proposer.number) return proposer
  if (compareBallots(reply.ballot, proposer.ballot) !== 0) return proposer
  switch (reply.type) {
    case 'promise':
      return proposer.stage === 'preparing' ? receivePromise(proposer, from, reply.accepted) : proposer
    case 'voted':
      return proposer.stage === 'voting' ? receiveVote(proposer, from) : proposer
    case 'voteRefused':
      return receiveRefusal(proposer, from, reply.promised)
  }
}

function receivePromise(proposer: Proposer, from: NodeId, accepted: Proposal | null): Proposer {
  const agreed = new Set(proposer.agreed).add(from)
  const isHigher =
    accepted !== null &&
    (proposer.highest === null || compareBallots(accepted.ballot, proposer.highest.ballot) > 0)
  const highest = isHigher ? accepted : proposer.highest
  if (agreed.size < majority(proposer.acceptors.length)) return { ...proposer, agreed, highest }
  const value = highest === null ? proposer.value : highest.value
  return { ...proposer, stage: 'voting', value, highest, agreed: new Set(), refused: new Set() }
}

function receiveVote(proposer: Proposer, from: NodeId): Proposer {
  const agreed = new Set(proposer.agreed).add(from)
  const isChosen = agreed.size >= majority(proposer.acceptors.length)
  return { ...proposer, agreed, stage: isChosen ? 'chosen' : 'voting' }
}

function receiveRefusal(proposer: Proposer, from: NodeId, promised: Ballot | null): Proposer {
  const refused = new Set(proposer.refused).add(from)
  const isHigher =
    promised !== null && (proposer.overtakenBy === null || compareBallots(promised, proposer.overtakenBy) > 0)
  const overtakenBy = isHigher ? promised : proposer.overtakenBy
  const isLost = proposer.acceptors.length - refused.size < majority(proposer.acceptors.length)
  return { ...proposer, refused, overtakenBy, stage: isLost ? 'lost' : proposer.stage }
}
