/**
 * Writes one after the other leave one value, through whichever peer they go and without anybody handing
 * contexts around; writes at the same time leave both.
 *
 * Two writes were truly concurrent when neither's context covers the other's: each writer gets the context of
 * what it replaced plus its own dot, so a writer that saw the other one's write covers it. Then both values
 * must be there; otherwise only the later one may be.
 *
 * Usage: npm run accept:siblings -- [--puts 10000] [--keys 20] [--rounds 300]
 */
import { parseArgs } from 'node:util'
import { utf8 } from '../../src/base/bytes.ts'
import { hashText32 } from '../../src/base/hash.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { createPrng } from '../../src/base/prng.ts'
import { type Client, connect, type PutOptions, type Written } from '../../src/index.ts'
import { contextSeed, decodeContext } from '../../src/protocol/context.ts'
import { includesDotSet } from '../../src/protocol/dvv.ts'
import { endAll, startCluster } from '../processes/peers.ts'
import { Verdict } from './verdict.ts'

const PEERS = 5
const READ_EVERY = 20

const { values: words } = parseArgs({
  options: {
    puts: { type: 'string', default: '10000' },
    keys: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now()) },
  },
})
const prng = createPrng(words.seed)
const verdict = new Verdict(`siblings, five peers, seed ${words.seed}`)
const peers = await startCluster(PEERS)
const clients = await Promise.all(peers.map(({ address }) => connect(address, { pinned: true })))
const byAddress = new Map(peers.map(({ address }, i) => [address, clients[i] as Client]))
const anyone = clients[0] as Client
const { clusterId } = await anyone.service.status()
const keyspaceId = (await anyone.service.keyspaces()).find(({ name }) => name === 'default')?.id as KeyspaceId

await writeInTurn(Number(words.puts), Number(words.keys))
await writeFromOneContext(Number(words.rounds))
await writeAtOnce('at once without a context', Number(words.rounds), {})
await writeAtOnce('at once and blind', Number(words.rounds), { blind: true })
await verdict.print()
for (const client of clients) client.close()
await endAll(peers)

/** Each put begins when the one before is acknowledged. */
async function writeInTurn(puts: number, keyCount: number): Promise<void> {
  const newest = new Map<string, string>()
  let siblings = 0
  let wrong = 0
  let reads = 0
  const read = async (client: Client, key: string): Promise<void> => {
    const found = await client.get(key)
    reads++
    siblings += found.siblings
    if (found.text() !== newest.get(key)) wrong++
  }
  for (let i = 0; i < puts; i++) {
    const key = `turn-${prng.int(keyCount)}`
    await oneOf(clients).put(key, `value ${i}`)
    newest.set(key, `value ${i}`)
    if (i % READ_EVERY === 0) await read(oneOf(clients), key)
    if (i % 2_000 === 1_999) verdict.progress(`${i + 1} puts`)
  }
  for (const client of clients) for (const key of newest.keys()) await read(client, key)
  const what = `${puts} successive puts of ${newest.size} keys`
  verdict.check(`${what}: siblings in ${reads} reads`, siblings, 'none', siblings === 0)
  verdict.check('… reads of another value than the last', wrong, 'none', wrong === 0)
}

/** Two writers replace the same value through different owners. */
async function writeFromOneContext(rounds: number): Promise<void> {
  let kept = 0
  let resolved = 0
  for (let round = 0; round < rounds; round++) {
    const key = `context-${round}`
    const { context } = await anyone.put(key, 'base')
    const [first, second] = await ownersOf(key)
    await Promise.all([first.put(key, 'A', { context }), second.put(key, 'B', { context })])
    const found = await oneOf(clients).get(key)
    if (textsOf(found.values) === 'A B') kept++
    await oneOf(clients).put(key, 'C', { context: found.context })
    if (textsOf((await oneOf(clients).get(key)).values) === 'C') resolved++
  }
  verdict.check('two puts with one context: both values kept', `${kept} of ${rounds}`, 'all', kept === rounds)
  verdict.check(
    '… replaced by a put with their context',
    `${resolved} of ${rounds}`,
    'all',
    resolved === rounds,
  )
}

async function writeAtOnce(what: string, rounds: number, options: PutOptions): Promise<void> {
  let concurrent = 0
  let both = 0
  let ordered = 0
  let one = 0
  for (let round = 0; round < rounds; round++) {
    const key = `${what} ${round}`
    await anyone.put(key, 'base')
    const [first, second] = await ownersOf(key)
    const [a, b] = await Promise.all([first.put(key, 'A', options), second.put(key, 'B', options)])
    const texts = textsOf((await oneOf(clients).get(key)).values)
    const later = laterOf(key, a, b)
    if (later === null) {
      concurrent++
      if (texts === 'A B') both++
    } else {
      ordered++
      if (texts === later) one++
    }
  }
  verdict.check(`two puts ${what}: truly concurrent`, `${concurrent} of ${rounds}`, 'some', concurrent > 0)
  verdict.check('… of these both values kept', `${both} of ${concurrent}`, 'all', both === concurrent)
  verdict.check('… of the others the later one alone', `${one} of ${ordered}`, 'all', one === ordered)
}

/** Which one of two writes saw the other; null: neither. */
function laterOf(key: string, a: Written, b: Written): 'A' | 'B' | null {
  const seed = contextSeed(hashText32(clusterId), keyspaceId, utf8(key))
  const [seenByA, seenByB] = [decodeContext(a.context, seed), decodeContext(b.context, seed)]
  if (includesDotSet(seenByA, seenByB)) return 'A'
  return includesDotSet(seenByB, seenByA) ? 'B' : null
}

/** Clients of two different owners of the key: an owner coordinates what it is asked itself. */
async function ownersOf(key: string): Promise<readonly [Client, Client]> {
  const { owners } = await anyone.service.locate('default', utf8(key))
  const [first, second] = owners.map((owner) => byAddress.get(owner))
  if (first === undefined || second === undefined) throw new Error(`the owners of ${key} are ${owners}`)
  return [first, second]
}

function oneOf<T>(items: readonly T[]): T {
  return items[prng.int(items.length)] as T
}

function textsOf(values: readonly { readonly value: Uint8Array }[]): string {
  return values
    .map(({ value }) => new TextDecoder().decode(value))
    .sort()
    .join(' ')
}
