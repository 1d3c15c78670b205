/**
 * Invariant 6, on the wire: no quorum counts answers given under different numbers. It rests on what each
 * peer may say. It acknowledges a number only once it goes by it; from then on it answers nothing that was
 * asked under a lower one; and it never answers for a number that it has not reached.
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
}

export interface NumberParts {
  /** All peers go by the same number: nobody can have gone astray. */
  isUniform(): boolean
  /** What the peer on a host goes by; 0: nothing yet. Null: no peer is there. */
  numberOn(host: string): number | null
}

export function createNumberChecker({ isUniform, numberOn }: NumberParts): NumberChecker {
  /** By who asked, whom, and the request's id. */
  const asked = new Map<string, Asked>()

  const ask = (from: string, to: string, { type, id, number }: Numbered): void => {
    asked.set(`${from} ${to} ${id}`, { type, number, ownNumber: numberOn(to) ?? 0 })
  }

  const answer = (from: string, to: string, id: number, own: number): void => {
    const question = asked.get(`${to} ${from} ${id}`)
    if (question === undefined) return
    const { type, number, ownNumber } = question
    if (number < ownNumber) {
      const what = `'${type}' of configuration ${number}, which ${to} sent`
      throw new Violation(6, `${from}, which went by ${ownNumber} by then, answered a ${what}`)
    }
    if (number > own) throw new Violation(6, `${from}, which goes by ${own}, answered for ${number}`)
  }

  return {
    sent(from, to, frame) {
      if (isUniform()) return asked.clear()
      const own = numberOn(from)
      if (own === null || numberOn(to) === null) return
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
