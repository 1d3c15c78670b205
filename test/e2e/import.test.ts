import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { connect } from '../../src/api/connect.ts'
import type { Client } from '../../src/client/client.ts'
import {
  endAll,
  type Finished,
  PeerProcess,
  type RunOptions,
  run,
  scratchDirectory,
} from '../processes/peers.ts'

const test = suite('import')
const directory = scratchDirectory()
const peer = new PeerProcess(join(directory, 'peer'))
let client: Client

test.before(async () => {
  await peer.start()
  client = await connect(peer.address)
})
test.after(async () => {
  client.close()
  await endAll([peer])
})

function file(name: string, content: string): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

function kvctlImport(args: readonly string[], options?: RunOptions): Promise<Finished> {
  return run('kvctl', ['import', ...args, '--peer', peer.address], options)
}

async function textOf(key: string): Promise<string | null> {
  return (await client.get(key)).text()
}

test('a line of NDJSON is stored byte for byte', async () => {
  const lines = ['{"key":"nd:1",  "n": 12345678901234567890}', '{"key":"nd:2","é":"ü"}', '', '{"key":"nd:3"}']
  const { code, stdout } = await kvctlImport([file('rows.ndjson', lines.join('\r\n'))])
  assert.is(code, 0)
  assert.match(stdout, /^3 imported, 0 bad, 0 not acknowledged/)
  assert.is(await textOf('nd:1'), lines[0])
  assert.is(await textOf('nd:2'), lines[1])
  assert.is(await textOf('nd:3'), lines[3])
})

test('a JSON array is read with several key fields, or one field as value', async () => {
  const rows = [
    { country: 'AD', name: 'Vila', population: 1 },
    { country: 'AD', name: 'Ordino', population: { year: 2020 } },
  ]
  const path = file('cities.json', JSON.stringify(rows, null, 2))
  assert.is((await kvctlImport([path, '--key', 'country,name'])).code, 0)
  assert.is(await textOf('AD,Vila'), JSON.stringify(rows[0]))
  assert.is((await kvctlImport([path, '--key', 'name', '--value', 'population'])).code, 0)
  assert.is(await textOf('Vila'), '1')
  assert.is(await textOf('Ordino'), '{"year":2020}')
})

test('CSV and TSV have names in their first line; quoted fields hold commas and line ends', async () => {
  const csv = '\ufeffid,name\r\n1,"Müller, ""Max"""\r\n2,"two\nlines"\r\n'
  assert.is((await kvctlImport([file('people.csv', csv), '--key', 'id', '--value', 'name'])).code, 0)
  assert.is(await textOf('1'), 'Müller, "Max"')
  assert.is(await textOf('2'), 'two\nlines')
  const tsv = 'id\tname\n3\tthree\n'
  assert.is(
    (await kvctlImport(['-', '--format', 'tsv', '--key', 'id', '--value', 'name'], { input: tsv })).code,
    0,
  )
  assert.is(await textOf('3'), 'three')
})

test('broken rows are reported one by one, and the others go in: exit code 2', async () => {
  const lines = ['{"key":"ok:1"}', 'not json', '[1]', '{"name":"no key"}', '{"key":""}', '{"key":"ok:2"}']
  const report = join(directory, 'failed.ndjson')
  const { code, stdout } = await kvctlImport([file('broken.ndjson', lines.join('\n')), '--report', report])
  assert.is(code, 2)
  assert.match(stdout, /^2 imported, 4 bad, 0 not acknowledged/)
  const failures = readFileSync(report, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(
    failures.map(({ row }) => row),
    [2, 3, 4, 5],
  )
  assert.match(failures[2].message, "no field 'key', name another with --key FIELD; the row has: name")
  assert.is(await textOf('ok:2'), lines[5])
})

test('a CSV row with too many fields is reported with its line', async () => {
  const { code, stdout } = await kvctlImport([
    file('odd.csv', 'key,v\na:1,1\na:2,2,2\na:3,3\n'),
    '--value',
    'v',
  ])
  assert.is(code, 2)
  assert.match(stdout, '2 imported, 1 bad')
  assert.match(stdout, 'row 3')
  assert.is(await textOf('a:3'), '3')
})

test('a CSV row with several wrong quotes is one bad row, told without what is in it', async () => {
  const { code, stdout } = await kvctlImport([
    file('quotes.csv', `key,v\nq:1,a"secret"b"c\nq:2,"x"secret"y"\nq:3,2\n`),
  ])
  assert.is(code, 2)
  assert.match(stdout, '1 imported, 2 bad')
  assert.is(stdout.match(/row 2: /g)?.length, 1)
  assert.match(stdout, 'row 3: ')
  assert.not(stdout.includes('secret'))
  assert.not(stdout.includes('Invalid'))
})

test('a first line that names a column twice is refused', async () => {
  const { code, stderr } = await kvctlImport([file('twice.csv', 'key,v,key\nt:1,1,t:2\n')])
  assert.is(code, 2)
  assert.match(stderr, "the first line names 'key' twice")
  const unnamed = await kvctlImport([file('unnamed.csv', 'key,v,,\nt:1,1,,\n'), '--value', 'v'])
  assert.is(unnamed.code, 0)
})

test('UTF-16 and UTF-32 are refused, whatever the format is said to be', async () => {
  const texts = ['key,v\nu:1,1\n', '{"key":"u:1"}\n', '[{"key":"u:1"}]']
  const little = texts.map((text) => Buffer.from(text, 'utf16le'))
  const files = [
    ...little.map((bytes) => Buffer.concat([Buffer.from([0xff, 0xfe]), bytes])),
    ...little.map((bytes) => Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(bytes).swap16()])),
    ...little,
    Buffer.from([0, 0, 0xfe, 0xff, 0, 0, 0, 0x6b]),
  ]
  for (const [index, bytes] of files.entries()) {
    const path = join(directory, `wide-${index}`)
    writeFileSync(path, bytes)
    const { code, stderr } = await kvctlImport([path, '--format', index % 3 === 0 ? 'csv' : 'ndjson'])
    assert.is(code, 2)
    assert.match(stderr, 'is UTF-16 or UTF-32, not UTF-8; convert it first')
  }
})

test('what a broken row holds reaches no terminal as it is, nor at any length', async () => {
  const { stdout } = await kvctlImport([file('wild.csv', `key,v\na:1,x"\u001b[2J${'y'.repeat(500)}\n`)])
  assert.match(stdout, '1 bad')
  assert.not(stdout.includes('\u001b'))
  assert.ok(stdout.split('\n').every((line) => line.length < 200))
})

test('a JSON array that breaks off is an error that says after which row', async () => {
  const { code, stderr } = await kvctlImport([file('cut.json', '[{"key":"c:1"},{"key":"c:2"},{"ke')])
  assert.is(code, 2)
  assert.match(stderr, 'breaks off after 2 rows')
  assert.is(await textOf('c:2'), '{"key":"c:2"}')
})

test('of rows with the same key the last one stays, and they are reported', async () => {
  const rows = Array.from({ length: 50 }, (_, n) => ({ key: 'same', n }))
  const { code, stdout } = await kvctlImport([file('same.json', JSON.stringify(rows))])
  assert.is(code, 0)
  assert.match(stdout, '49 rows have keys of earlier ones')
  const found = await client.get('same')
  assert.is(found.text(), JSON.stringify(rows[49]))
  assert.is(found.siblings, 0)
})

test('what is not there or not known is refused before anything is written', async () => {
  assert.is((await kvctlImport([join(directory, 'nothing.csv')])).code, 2)
  assert.match((await kvctlImport([directory])).stderr, 'is not a file')
  assert.match((await kvctlImport(['-'], { input: 'key: value' })).stderr, '--format ndjson|json|csv|tsv')
  const unknown = await kvctlImport([file('one.ndjson', '{"key":"x"}'), '--keyspace', 'nowhere'])
  assert.is(unknown.code, 2)
  assert.match(unknown.stderr, 'kvctl keyspace create nowhere')
})

test.run()
