/** Configuration drivers on a clock, a network and disks that obey the test: same seed, same run. */
import * as assert from 'uvu/assert'
import type { Bytes } from '../../src/base/bytes.ts'
import { toHex } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { ConfigurationDriver } from '../../src/cluster/configuration-driver.ts'
import type { ConfigurationTiming } from '../../src/cluster/configuration-rpc.ts'
import { decodeVotes, VOTES_FILE } from '../../src/cluster/votes.ts'
import type { Clock } from '../../src/effects/clock.ts'
import type { Log } from '../../src/effects/log.ts'
import type { Storage } from '../../src/effects/storage.ts'
import type { Configuration, Phase } from '../../src/protocol/configuration.ts'
import { LACKS_NOTHING, type Lacks } from '../../src/protocol/lacks.ts'
import { compareBallots, type Votes } from '../../src/protocol/synod.ts'
import {
  type ConfigurationAnswer,
  type ConfigurationQuestion,
  configurationReplies,
  configurationRequests,
} from '../../src/wire/configuration-messages.ts'
import { packFrame, unpackFrame } from '../../src/wire/frame.ts'
import { createMessageCodec, type MessageOf } from '../../src/wire/schema.ts'

const messages = { ...configurationRequests, ...configurationReplies } as const
type ConfigurationMessage = MessageOf<typeof messages>
const codec = createMessageCodec(messages)
const CLUSTER = parseClusterId('test-cluster')
const GOSSIP_MS = 200

interface Event {
  readonly atMs: number
  readonly run: () => void
}

export interface TestPeer {
  readonly nodeId: NodeId
  /** Of a member that is dead for good, whose place it takes. */
  readonly replaces: string | null
  readonly files: Map<string, Bytes>
  driver: ConfigurationDriver
  isUp: boolean
  /** One higher with every start and crash: what belongs to an earlier life has no effect. */
  life: number
  waitsFor: string | null
  lacks: Lacks
  /** In this phase it takes over data, and does not end. */
  takesOverIn: Phase | null
  /** Storage.writeFile fails. */
  isDiskBroken: boolean
  /** What `onAdopt` told in this life. */
  adopted: Configuration[]
  joinError: KvError | null
}

export class TestCluster {
  readonly peers: TestPeer[] = []
  readonly prng: Prng
  nowMs = 0
  /** Of peers that start from now on. */
  isManual = false
  lossPercent = 0
  duplicatePercent = 0
  /** Pairs `from>to` that do not hear each other. */
  readonly cuts = new Set<string>()
  readonly errors: string[] = []
  readonly #timing: Partial<ConfigurationTiming>
  readonly #contents = new Map<number, string>()
  readonly #votes = new Map<string, Votes>()
  #events: Event[] = []
  #boots = 0

  constructor(seed: number, timing: Partial<ConfigurationTiming> = {}) {
    this.prng = createPrng(seed)
    this.#timing = timing
  }

  /** The first peer founds the cluster; the others are started joining. */
  async grow(count: number): Promise<void> {
    await this.found('n0')
    for (let i = 1; i < count; i++) this.startJoining(`n${i}`)
    await this.until(() => this.peers.every((peer) => this.isSettled(peer)))
  }

  async found(name: string): Promise<TestPeer> {
    const peer = this.#makePeer(name)
    void this.#start(peer).then(() => peer.driver.found(CLUSTER, 16))
    await this.until(() => peer.driver.current !== null)
    return peer
  }

  startJoining(name: string, replaces: string | null = null): TestPeer {
    const peer = this.#makePeer(name, replaces)
    void this.#start(peer).then(() => this.#join(peer))
    return peer
  }

  /** It loses what is not on its disk. */
  crash(peer: TestPeer): void {
    peer.isUp = false
    peer.life++
    this.#peersChanged()
  }

  restart(peer: TestPeer): void {
    void this.#start(peer).then(() => this.#join(peer))
  }

  cut(a: TestPeer, b: TestPeer): void {
    this.cuts.add(`${a.nodeId}>${b.nodeId}`).add(`${b.nodeId}>${a.nodeId}`)
    this.#peersChanged()
  }

  heal(): void {
    this.cuts.clear()
    this.#peersChanged()
  }

  isSettled({ driver, nodeId }: TestPeer): boolean {
    const current = driver.current
    return (
      current !== null &&
      current.phase === 'stable' &&
      current.members.some((member) => member.nodeId === nodeId)
    )
  }

  /** Everybody up has the same stable configuration, with everybody in it. */
  isConverged(): boolean {
    const numbers = new Set(this.peers.map(({ driver }) => driver.current?.number))
    return numbers.size === 1 && this.peers.every((peer) => peer.isUp && this.isSettled(peer))
  }

  async until(isDone: () => boolean, limitMs = 30_000): Promise<void> {
    const endMs = this.nowMs + limitMs
    while (!isDone()) {
      assert.ok(this.nowMs < endMs, `not done in time: ${this.describe()}`)
      await this.#turn()
    }
  }

  async run(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    this.after(ms, () => undefined)
    while (this.nowMs < endMs) await this.#turn()
  }

  after(delayMs: number, run: () => void): { cancel(): void } {
    const event = { atMs: this.nowMs + Math.max(0, delayMs), run }
    const at = this.#events.findIndex(({ atMs }) => atMs > event.atMs)
    this.#events.splice(at < 0 ? this.#events.length : at, 0, event)
    return {
      cancel: () => {
        this.#events = this.#events.filter((other) => other !== event)
      },
    }
  }

  describe(): string {
    const lines = this.peers.map(({ nodeId, driver, isUp }) => {
      const { number = 0, phase = 'none', members = [] } = driver.current ?? {}
      const standing = `${isUp ? 'up' : 'down'} ${number} ${phase} of ${members.length}`
      return `${nodeId} ${standing}: ${driver.pendingReason}`
    })
    return [...lines, ...this.errors].join('\n')
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    const event = this.#events.shift()
    assert.ok(event !== undefined, `nothing will ever happen again: ${this.describe()}`)
    this.nowMs = event.atMs
    event.run()
    await new Promise((resolve) => setImmediate(resolve))
  }

  #makePeer(name: string, replaces: string | null = null): TestPeer {
    const nodeId = parseNodeId(name)
    const peer: TestPeer = {
      nodeId,
      replaces,
      files: new Map(),
      driver: null as unknown as ConfigurationDriver,
      isUp: false,
      life: 0,
      waitsFor: null,
      lacks: LACKS_NOTHING,
      takesOverIn: null,
      isDiskBroken: false,
      adopted: [],
      joinError: null,
    }
    this.peers.push(peer)
    peer.driver = this.#makeDriver(peer)
    return peer
  }

  async #start(peer: TestPeer): Promise<TestPeer> {
    const life = ++peer.life
    peer.adopted = []
    peer.joinError = null
    peer.driver = this.#makeDriver(peer)
    const driver = peer.driver
    await driver.load()
    if (peer.life !== life) return new Promise(() => undefined)
    peer.isUp = true
    driver.onAdopt((configuration) => this.#adopted(peer, life, configuration))
    driver.start()
    this.#gossip(peer, life)
    this.#peersChanged()
    return peer
  }

  #join(peer: TestPeer): void {
    peer.driver.join().catch((error: unknown) => {
      peer.joinError = error as KvError
    })
  }

  #makeDriver(peer: TestPeer): ConfigurationDriver {
    const { life } = peer
    const random = this.prng.fork(`${peer.nodeId}/${++this.#boots}`)
    const identity = { nodeId: peer.nodeId, zone: '', weight: 1, bootNonce: `boot${this.#boots}` }
    const effects = {
      clock: this.#clock(peer, life),
      random: {
        float: random.float,
        bytes: (count: number) => Uint8Array.from({ length: count }, () => random.int(256)),
        id: () => `id${random.next()}`,
      },
      storage: this.#storage(peer, life),
      log: this.#log(peer),
    }
    return new ConfigurationDriver(
      {
        identity,
        effects,
        replaces: peer.replaces,
        isManual: this.isManual,
        rpc: { call: (to, question, timeoutMs) => this.#call(peer, life, to, question, timeoutMs) },
        peers: {
          isAlive: (nodeId) => this.#hears(peer.nodeId, nodeId),
          known: () => this.peers.map(({ nodeId }) => nodeId).filter((nodeId) => nodeId !== peer.nodeId),
          nameOf: (nodeId) => `${nodeId}:7001`,
        },
        waitsFor: () => (peer.driver.current?.phase === peer.takesOverIn ? 'takes over' : peer.waitsFor),
        lacks: () => peer.lacks,
      },
      this.#timing,
    )
  }

  #clock(peer: TestPeer, life: number): Clock {
    const setTimer = (delayMs: number, run: () => void) =>
      this.after(delayMs, () => {
        if (peer.life === life) run()
      })
    return {
      now: () => 1_790_000_000_000 + this.nowMs,
      monotonic: () => this.nowMs,
      setTimer,
      defer: (run) => setTimer(0, run),
    }
  }

  #storage(peer: TestPeer, life: number): Storage {
    const storage: Pick<Storage, 'readFile' | 'writeFile'> = {
      readFile: async (name) => peer.files.get(name) ?? null,
      writeFile: (name, bytes) =>
        new Promise((resolve, reject) => {
          const saved = bytes.slice()
          this.after(1 + this.prng.int(3), () => {
            if (peer.life !== life) return
            if (peer.isDiskBroken) return reject(new KvError('INTERNAL', 'the disk is broken'))
            peer.files.set(name, saved)
            if (name === VOTES_FILE) this.#checkVotes(saved)
            resolve()
          })
        }),
    }
    return storage as Storage
  }

  #log({ nodeId }: TestPeer): Log {
    const ignore = (): void => undefined
    return {
      debug: ignore,
      info: ignore,
      warn: ignore,
      error: (event, fields) => {
        this.errors.push(`${nodeId} ${event} ${String(fields?.error ?? '')}`)
      },
    }
  }

  #hears(from: NodeId, to: NodeId): boolean {
    return this.#peer(to).isUp && !this.cuts.has(`${from}>${to}`)
  }

  #peer(nodeId: NodeId): TestPeer {
    return this.peers.find((peer) => peer.nodeId === nodeId) as TestPeer
  }

  #peersChanged(): void {
    for (const peer of this.peers) if (peer.isUp) peer.driver.peersChanged()
  }

  #gossip(peer: TestPeer, life: number): void {
    this.after(GOSSIP_MS * (0.5 + this.prng.float()), () => {
      if (peer.life !== life) return
      const other = this.peers[this.prng.int(this.peers.length)] as TestPeer
      const number = peer.driver.current?.number ?? 0
      if (other !== peer && this.#hears(peer.nodeId, other.nodeId))
        other.driver.configurationSeen(peer.nodeId, number)
      this.#gossip(peer, life)
    })
  }

  #call(
    from: TestPeer,
    life: number,
    to: NodeId,
    question: ConfigurationQuestion,
    timeoutMs: number,
  ): Promise<ConfigurationAnswer> {
    return new Promise((resolve, reject) => {
      if (!this.#hears(from.nodeId, to)) return reject(new KvError('UNAVAILABLE', `${to} cannot be reached`))
      const timer = this.after(timeoutMs, () => {
        if (from.life === life) reject(new KvError('TIMEOUT_UNKNOWN', `${to} did not answer`))
      })
      const carried = transported({ ...question, id: 7 } as ConfigurationMessage)
      const copies = this.prng.int(100) < this.duplicatePercent ? 2 : 1
      for (let i = 0; i < copies; i++) {
        this.#carry(from.nodeId, to, () => {
          const receiver = this.#peer(to)
          const answering = receiver.driver.answer(carried as unknown as ConfigurationQuestion)
          // A question without an answer ends in a timeout.
          answering.then(
            (answer) => {
              const reply = transported({ ...answer, id: 7 } as ConfigurationMessage)
              this.#carry(to, from.nodeId, () => {
                if (from.life !== life) return
                timer.cancel()
                resolve(reply as unknown as ConfigurationAnswer)
              })
            },
            () => undefined,
          )
        })
      }
    })
  }

  #carry(from: NodeId, to: NodeId, arrive: () => void): void {
    if (this.prng.int(100) < this.lossPercent) return
    const { life } = this.#peer(to)
    this.after(1 + this.prng.int(10), () => {
      if (this.#hears(from, to) && this.#peer(to).life === life) arrive()
    })
  }

  #adopted(peer: TestPeer, life: number, configuration: Configuration): void {
    assert.is(peer.life, life)
    const last = peer.adopted.at(-1)
    assert.ok((last?.number ?? 0) < configuration.number, 'numbers rise')
    peer.adopted.push(configuration)
    const content = toHex(peer.driver.currentBytes as Bytes)
    const known = this.#contents.get(configuration.number)
    assert.is(known ?? content, content, `one content per number, ${configuration.number}`)
    this.#contents.set(configuration.number, content)
  }

  #checkVotes(file: Bytes): void {
    const votes = decodeVotes(file)
    const before = this.#votes.get(votes.acceptorId)
    this.#votes.set(votes.acceptorId, votes)
    if (before === undefined || before.number < votes.number) return
    assert.is(before.number, votes.number, 'an acceptor never goes back to an older number')
    if (before.promised === null) return
    assert.ok(
      votes.promised !== null && compareBallots(votes.promised, before.promised) >= 0,
      'a promise never falls',
    )
  }
}

/** Through the bytes of a real frame. */
function transported(message: ConfigurationMessage): ConfigurationMessage {
  const [raw] = unpackFrame(packFrame([codec.encode(message)]))
  return codec.decode(raw)
}
