import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { ActorId, KeyspaceId } from '../../src/base/ids.ts'
import { covers, EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { Dot, KeyRecord } from '../../src/protocol/record.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const KEYS = ['a', 'b', 'c'].map(utf8)
const FOREIGN = 'ffffffffffffffff' as ActorId
const STORIES = 400
const LIVES = 5

const nameOf = (key: Bytes, { actor, n }: Dot): string => `${text(key)} ${actor}/${n}`

/** Several lives of one store on one disk, and everything that must stay true between them. */
class Story {
  readonly #world: World
  /** Content by key and dot: no dot ever names two. */
  readonly #contents = new Map<string, string>()
  /** Acknowledged, or shown to a reader: never to be missed again. */
  readonly #promised = new Map<string, readonly [Bytes, Dot]>()
  /** Covered by the context of some put. */
  readonly #superseded = new Set<string>()
  readonly #dots = new Set<string>()
  #writes = 0

  constructor(seed: number) {
    this.#world = new World(`story ${seed}`)
  }

  async run(): Promise<void> {
    for (let life = 0; life < LIVES; life++) {
      const store = await this.#start()
      if (store === null) continue
      this.#check(store)
      await this.#live(store)
      await this.#end(store)
    }
    const last = await this.#world.open()
    this.#check(last)
    assert.ok(last.storeId.length > 0)
  }

  /** Null: it crashed on the way. */
  async #start(): Promise<Store | null> {
    const { prng } = this.#world
    const begun = this.#world.begin()
    if (prng.int(4) > 0) return this.#world.result(begun)
    begun.catch(() => undefined)
    for (let steps = prng.int(8); steps > 0; steps--) await this.#world.step()
    this.#world.crash()
    return null
  }

  async #live(store: Store): Promise<void> {
    const { prng } = this.#world
    for (let turns = prng.int(25); turns > 0; turns--) {
      for (let count = prng.int(3); count > 0; count--) this.#write(store)
      this.#read(store)
      await this.#world.step()
    }
  }

  async #end(store: Store): Promise<void> {
    const { prng } = this.#world
    const way = prng.int(3)
    if (way === 0) {
      await this.#world.result(store.close())
    } else if (way === 1) {
      const closing = store.close()
      closing.catch(() => undefined)
      for (let steps = prng.int(8); steps > 0; steps--) await this.#world.step()
    }
    this.#world.crash(prng.int(2) === 0 ? 'power' : 'process')
  }

  #write(store: Store): void {
    const { prng } = this.#world
    const key = KEYS[prng.int(KEYS.length)] as Bytes
    const content = `content ${++this.#writes}`
    const fields = { value: utf8(content), contentType: null, writeId: content, expiresAtMs: null }
    if (prng.int(3) === 0) {
      const dot = { actor: FOREIGN, n: this.#writes }
      const value = { dot, timestamp: this.#writes, ...fields }
      const record = { seen: { vector: new Map(), loose: [dot] }, values: [value] }
      this.#contents.set(nameOf(key, dot), content)
      store.merge(KEYSPACE, 0, key, encodeRecord(key, record), null, (error) => {
        if (error === null) this.#promise(key, dot)
      })
      return
    }
    const held = prng.int(2) === 0 ? store.newest(KEYSPACE.id, 0, key) : null
    for (const { dot } of held?.values ?? []) this.#superseded.add(nameOf(key, dot))
    const { dot } = store.put(KEYSPACE, 0, key, held?.seen ?? EMPTY_DOTS, fields, (error) => {
      if (error === null) this.#promise(key, dot)
    })
    assert.not(this.#dots.has(`${dot.actor}/${dot.n}`), 'no dot is minted twice')
    this.#dots.add(`${dot.actor}/${dot.n}`)
    this.#contents.set(nameOf(key, dot), content)
  }

  #read(store: Store): void {
    const key = KEYS[this.#world.prng.int(KEYS.length)] as Bytes
    const record = store.readRecord(KEYSPACE.id, 0, key)
    for (const { dot } of record?.values ?? []) this.#promise(key, dot)
  }

  #promise(key: Bytes, dot: Dot): void {
    this.#promised.set(nameOf(key, dot), [key, dot])
  }

  #check(store: Store): void {
    const records = new Map<Bytes, KeyRecord | null>(
      KEYS.map((key) => [key, store.readRecord(KEYSPACE.id, 0, key)]),
    )
    for (const [key, record] of records) {
      for (const { dot, value } of record?.values ?? []) {
        assert.is(text(value as Bytes), this.#contents.get(nameOf(key, dot)), 'a dot names one value')
      }
    }
    for (const [name, [key, dot]] of this.#promised) {
      const record = records.get(key) ?? null
      assert.ok(record !== null && covers(record.seen, dot), `what was promised is there: ${name}`)
      const isShown = record.values.some((value) => nameOf(key, value.dot) === name)
      assert.ok(isShown || this.#superseded.has(name), `a value goes only when it is replaced: ${name}`)
    }
  }
}

test('through crashes at any moment nothing promised is lost and no dot names two values', async () => {
  for (let seed = 0; seed < STORIES; seed++) {
    await new Story(seed).run().catch((error: Error) => {
      error.message = `story ${seed}: ${error.message}`
      throw error
    })
  }
})

test.run()
