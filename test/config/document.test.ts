import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { commentedYaml, markdownRows } from '../../src/config/document.ts'
import { CLUSTER_OPTIONS, PEER_OPTIONS } from '../../src/config/option-table.ts'
import { flagName, resolveOptions } from '../../src/config/resolve.ts'

const FILE = 'config/kvnode.yaml'
const OPENING = [
  'Options of one peer: kvnode start --config kvnode.yaml',
  'A flag beats an environment variable, a variable beats this file. Every line shows the default.',
]

test('config/kvnode.yaml says what the option table says', () => {
  assert.fixture(readFileSync(FILE, 'utf8'), commentedYaml(PEER_OPTIONS, OPENING))
})

test('with every line taken in, config/kvnode.yaml gives the defaults', () => {
  const active = readFileSync(FILE, 'utf8').replaceAll(/^#(?=[a-z-]+: )/gm, '')
  const content = parse(active) as Record<string, unknown>
  assert.equal(Object.keys(content), Object.keys(PEER_OPTIONS).map(flagName))
  const options = resolveOptions(PEER_OPTIONS, { flags: {}, environment: {}, file: { name: FILE, content } })
  for (const [name, option] of Object.entries(PEER_OPTIONS)) {
    assert.equal(options[name as keyof typeof options], option.default, name)
  }
})

test("README's tables of options say what the option table says", () => {
  const readme = readFileSync('README.md', 'utf8')
  for (const row of [...markdownRows(PEER_OPTIONS), ...markdownRows(CLUSTER_OPTIONS)])
    assert.ok(readme.includes(row), `missing in README.md: ${row}`)
})

test.run()
