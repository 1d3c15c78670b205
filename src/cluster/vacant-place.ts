/**
 * The question of a peer whose directory is empty: was a member of the cluster here, at my address?
 *
 * Intuition: when a disk is lost its peer is started again as before, with nothing but the words on its
 * command line. It is not a stranger: its address is that of a member who is gone, whose place in the ring
 * waits, and who would otherwise be down for ever. So it takes that place: the same node in another life.
 *
 * Invariant: no two take a place at once, and none is taken from one who lives. The newcomer listens at the
 * address, so nobody else does; and every other member must have said, since then, that it knows of no
 * later life of that node anywhere, and believes it down. One that cannot be asked may have it on its side of
 * a cut: then the newcomer waits.
 */
import type { Address, ClusterId, NodeId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { KnownPlaces } from '../wire/handshake-messages.ts'
import { inquire, type Question } from './inquiry.ts'

const ASK_MS = 400

/** A member that is gone, and may be gone on as. */
export interface Vacancy {
  readonly nodeId: NodeId
  readonly clusterId: ClusterId | null
  /** Of its last life. */
  readonly generation: number
}

export type PlaceVerdict =
  /** Nobody's: a new peer is to join. */
  | { readonly kind: 'free' }
  | { readonly kind: 'vacant'; readonly vacancy: Vacancy }
  | { readonly kind: 'undecided'; readonly waitsFor: string; readonly toAsk: readonly Address[] }

/** What those who answer in time know. */
export function askForPlaces(
  effects: Pick<Effects, 'clock' | 'network'>,
  addresses: readonly Address[],
): Promise<readonly KnownPlaces[]> {
  const question: Question<KnownPlaces> = {
    message: { type: 'askPlaces' },
    answerIn: (message) => (message.type === 'places' ? message : null),
    enoughAnswers: addresses.length,
  }
  return inquire(effects, question, addresses, effects.clock.monotonic() + ASK_MS)
}

/** @param address ours @param answers one from each who answered, the newest */
export function judgePlace(address: Address, answers: readonly KnownPlaces[]): PlaceVerdict {
  const newest = answers.reduce<KnownPlaces | null>(
    (best, answer) => (answer.number > (best?.number ?? 0) ? answer : best),
    null,
  )
  if (newest === null) return { kind: 'undecided', waitsFor: 'no peer of the cluster answers', toAsk: [] }
  const lives = newestLives(answers, newest.members)
  const holder = newest.members.find(({ nodeId }) => lives.get(nodeId)?.address === address)?.nodeId
  if (holder === undefined) return { kind: 'free' }
  const { generation, isUp } = lives.get(holder) as Life
  const toAsk = [...lives.values()].flatMap((life) => life.address ?? [])
  const undecided = (waitsFor: string): PlaceVerdict => ({ kind: 'undecided', waitsFor, toAsk })
  if (isUp) return undecided(`this address is that of member ${holder}, which is still believed to be up`)
  const silent = newest.members.find(({ nodeId }) => {
    const hasAnswered = answers.some(({ from, number }) => from === nodeId && number === newest.number)
    return nodeId !== holder && !hasAnswered
  })
  if (silent === undefined) {
    return { kind: 'vacant', vacancy: { nodeId: holder, clusterId: newest.clusterId, generation } }
  }
  const where = lives.get(silent.nodeId)?.address ?? silent.nodeId
  return undecided(`${where} has not said whether member ${holder}, who was at this address, is gone`)
}

interface Life {
  readonly address: Address | null
  readonly generation: number
  /** As any member believes. */
  readonly isUp: boolean
}

/** Who is no member any more says nothing else one day: what he believed of others counts for nothing. */
function newestLives(
  answers: readonly KnownPlaces[],
  members: KnownPlaces['members'],
): ReadonlyMap<NodeId, Life> {
  const lives = new Map<NodeId, Life>()
  for (const answer of answers) {
    const counts = members.some(({ nodeId }) => nodeId === answer.from)
    for (const { nodeId, address, generation, isUp } of answer.members) {
      const known = lives.get(nodeId)
      const isNewer = known === undefined || generation > known.generation || known.address === null
      const newer = isNewer ? { address, generation } : known
      lives.set(nodeId, { ...newer, isUp: (counts && isUp) || known?.isUp === true })
    }
  }
  return lives
}
