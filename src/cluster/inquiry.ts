/**
 * One question of a starting peer to many addresses, on links of their own that end with the answer and leave
 * nothing behind: it is nobody yet.
 */
import type { Address } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import { Channel, type ChannelHandler } from '../wire/channel.ts'
import { type PeerMessage, peerCodec } from '../wire/peer-messages.ts'

/** The same news is everywhere: in a large cluster not everyone is asked. */
const ASKED_AT_ONCE = 64

export interface Question<A> {
  readonly message: PeerMessage
  /** Null: that is no answer to it. */
  answerIn(message: PeerMessage): A | null
  /** With so many answers nobody else is asked. */
  readonly enoughAnswers: number
}

/** Fulfils with what came, when all were asked, when there are enough answers, or at `untilMs`. */
export function inquire<A>(
  effects: Pick<Effects, 'clock' | 'network'>,
  question: Question<A>,
  addresses: readonly Address[],
  untilMs: number,
): Promise<readonly A[]> {
  return new Inquiry(effects, question, addresses).run(untilMs)
}

class Inquiry<A> {
  readonly #effects: Pick<Effects, 'clock' | 'network'>
  readonly #question: Question<A>
  readonly #toAsk: Address[]
  readonly #open = new Set<Dial<A>>()
  readonly #answers: A[] = []
  #timer: Timer | null = null
  #done: () => void = () => undefined
  #isOver = false

  constructor(
    effects: Pick<Effects, 'clock' | 'network'>,
    question: Question<A>,
    addresses: readonly Address[],
  ) {
    this.#effects = effects
    this.#question = question
    this.#toAsk = [...addresses]
  }

  run(untilMs: number): Promise<readonly A[]> {
    const { clock } = this.#effects
    return new Promise((resolve) => {
      this.#done = () => resolve(this.#answers)
      this.#timer = clock.setTimer(Math.max(0, untilMs - clock.monotonic()), () => this.#end())
      this.#askMore()
    })
  }

  #askMore(): void {
    const { enoughAnswers } = this.#question
    while (this.#open.size < ASKED_AT_ONCE && this.#answers.length < enoughAnswers) {
      const address = this.#toAsk.shift()
      if (address === undefined) break
      const dial = new Dial(this.#effects.clock, this.#question, (answer) => {
        this.#open.delete(dial)
        if (this.#isOver) return
        if (answer !== null) this.#answers.push(answer)
        this.#askMore()
      })
      this.#open.add(dial)
      dial.begin(this.#effects, address)
    }
    if (this.#open.size === 0) this.#end()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    for (const dial of [...this.#open]) dial.giveUp()
    this.#done()
  }
}

class Dial<A> implements ChannelHandler<PeerMessage> {
  readonly #question: Question<A>
  readonly #ended: (answer: A | null) => void
  readonly #channel: Channel<PeerMessage, PeerMessage>
  #answer: A | null = null

  constructor(clock: Clock, question: Question<A>, ended: (answer: A | null) => void) {
    this.#question = question
    this.#ended = ended
    this.#channel = new Channel(peerCodec, peerCodec, clock, this)
  }

  begin({ network }: Pick<Effects, 'network'>, address: Address): void {
    this.#channel.attach(network.dial(address, 'control', this.#channel))
  }

  giveUp(): void {
    this.#channel.terminate('no answer in time')
  }

  opened(): void {
    this.#channel.send(this.#question.message)
  }

  received(message: PeerMessage): void {
    this.#answer = this.#question.answerIn(message)
    this.#channel.terminate('asked and answered')
  }

  closed(): void {
    this.#ended(this.#answer)
  }
}
