import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HostNames } from '../../src/api/host-names.ts'

const test = suite('host names')
const names = new HostNames(['db1.example', 'KV-1', '0.0.0.0'])

test('addresses, localhost and the names given are answered to, whatever the port and the spelling', () => {
  const known = ['127.0.0.1', '10.0.0.5:7001', '[::1]', '[fe80::1]:7001', 'localhost:7001', 'a.localhost']
  for (const header of [
    ...known,
    'db1.example:7001',
    'DB1.Example',
    'db1.example.',
    'kv-1:80',
    'localhost.:1',
  ])
    assert.ok(names.include(header), header)
})

test('any other name is not', () => {
  const strange = [
    'attacker.example',
    'attacker.example:7001',
    'db1.example.attacker.example',
    'localhost.org',
  ]
  const odd = [
    '',
    ':7001',
    '127.0.0.1.attacker.example',
    '127.1',
    '[attacker]',
    '[::1',
    '::1',
    'a b',
    'x:y:z',
  ]
  for (const header of [...strange, ...odd]) assert.not(names.include(header), header)
})

test('every name is, when the operator says so', () => {
  assert.ok(new HostNames(['*']).include('attacker.example:7001'))
})

test.run()
