/**
 * What invariant 6 (no quorum counts answers given under different numbers) rests on, on the wire: what each
 * peer may say. What the one who asked then counts is not looked at. A peer acknowledges a number only once
 * it goes by it; from then on it answers nothing that was asked under a lower one; and it never answers for a
 * number that it has not reached.
 *
 * What was asked before the peer went by its number may be answered after: that was done under the old one.
 */
import type { Bytes } from '../../base/bytes.ts'
import { unpackFrame } from '../../wire/frame.ts'
import { type PeerMessage, peerCodec } from '../../wire/peer-messages.ts'
import { Violation } from './violation.ts'

export interface NumberChecker {
  /** A frame of one peer to another. @throws Violation */
  sent(from: string, to: string, frame: Bytes): void
}

interface Asked {
  readonly type: string
  readonly number: number
  /** Of who was asked, then. */
  readonly ownNumber: number
  /** Of who asked: another life of it uses the same ids anew. */
  readonly life: unknown
}

export interface NumberParts {
  /** All peers go by the same number: nobody is going astray now. */
  isUniform(): boolean
  /** What the peer on a host goes by; 0: nothing yet. Null: no peer is there. */
  numberOn(host: string): number | null
  /** Another value for each life of the peer on a host. */
  lifeOn(host: string): unknown
}

/** After so many frames among peers that agree whatever is not answered yet never will be. */
const LAST_ANSWERS = 1000

export function createNumberChecker({ isUniform, numberOn, lifeOn }: NumberParts): NumberChecker {
  /** What a sound peer does not answer, by who asked, whom, and the request's id. */
  const asked = new Map<string, Asked>()
  let uniformFrames = 0

  const ask = (from: string, to: string, { type, id, number }: Numbered): void => {
    const [name, ownNumber] = [`${from} ${to} ${id}`, numberOn(to) ?? 0]
    if (number === ownNumber) asked.delete(name)
    else asked.set(name, { type, number, ownNumber, life: lifeOn(from) })
  }

  const answer = (from: string, to: string, id: number, own: number): void => {
    const question = asked.get(`${to} ${from} ${id}`)
    if (question === undefined || question.life !== lifeOn(to)) return
    const { type, number, ownNumber } = question
    if (number < ownNumber) {
      const what = `'${type}' of configuration ${number}, which ${to} sent`
      throw new Violation(6, `${from}, which went by ${ownNumber} by then, answered a ${what}`)
    }
    if (number > own) throw new Violation(6, `${from}, which goes by ${own}, answered for ${number}`)
  }

  const isOfInterest = (): boolean => {
    uniformFrames = isUniform() ? uniformFrames + 1 : 0
    if (uniformFrames > LAST_ANSWERS) asked.clear()
    return uniformFrames === 0 || asked.size > 0
  }

  return {
    sent(from, to, frame) {
      const own = numberOn(from)
      if (!isOfInterest() || own === null || numberOn(to) === null) return
      for (const raw of unpackFrame(frame)) {
        const message = peerCodec.decode(raw)
        if (message.type === 'adopted' && message.number > own) {
          throw new Violation(6, `${from}, which goes by ${own}, acknowledged ${message.number}`)
        }
        if (isNumbered(message)) ask(from, to, message)
        else if (ANSWERS.has(message.type) && 'id' in message) answer(from, to, message.id, own)
      }
    },
  }
}

type Numbered = Extract<PeerMessage, { type: (typeof QUESTIONS)[number] }>

/** Those that are about what a disk holds. */
const QUESTIONS = ['read', 'replicate', 'roots', 'slices', 'listKeys', 'digests', 'fetchRecords'] as const
const ANSWERS: ReadonlySet<string> = new Set([
  'record',
  'stored',
  'rootsDone',
  'slicesDone',
  'keysDone',
  'digestsDone',
  'recordsFetched',
])

function isNumbered(message: PeerMessage): message is Numbered {
  return (QUESTIONS as readonly string[]).includes(message.type)
}
