import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { CLUSTER_OPTIONS, PEER_OPTIONS } from '../../src/config/option-table.ts'
import {
  flagName,
  type OptionSources,
  resolveOptions,
  unknownVariables,
  variableName,
} from '../../src/config/resolve.ts'

const NOTHING: OptionSources = { flags: {}, environment: {}, file: null }

function resolve(sources: Partial<OptionSources>) {
  return resolveOptions(PEER_OPTIONS, { ...NOTHING, ...sources })
}

function file(content: unknown): Pick<OptionSources, 'file'> {
  return { file: { name: 'kvnode.yaml', content } }
}

function refusal(sources: Partial<OptionSources>): string {
  try {
    resolve(sources)
  } catch (error) {
    assert.instance(error, KvError)
    assert.is((error as KvError).code, 'INVALID_ARGUMENT')
    return (error as KvError).message
  }
  assert.unreachable('it should be refused')
  return ''
}

test('without anything every option has its default', () => {
  const options = resolve({})
  for (const [name, option] of Object.entries(PEER_OPTIONS)) {
    assert.equal(options[name as keyof typeof options], option.default, name)
  }
})

test('every default is a value that is allowed', () => {
  for (const [name, option] of [...Object.entries(PEER_OPTIONS), ...Object.entries(CLUSTER_OPTIONS)]) {
    if (option.default === '') continue
    assert.ok(option.schema.safeParse(option.default).success, name)
  }
})

test('flag beats variable beats file beats default', () => {
  const all = { flags: { port: '1' }, environment: { KVNODE_PORT: '2' }, ...file({ port: 3 }) }
  assert.is(resolve(all).port, 1)
  assert.is(resolve({ ...all, flags: {} }).port, 2)
  assert.is(resolve({ ...all, flags: {}, environment: {} }).port, 3)
  assert.is(resolve({}).port, 7001)
})

test('an empty variable is as good as none', () => {
  assert.is(resolve({ environment: { KVNODE_PORT: '' } }).port, 7001)
})

test('one name becomes flag, variable and key', () => {
  assert.is(flagName('maxValue'), 'max-value')
  assert.is(variableName('maxValue'), 'KVNODE_MAX_VALUE')
  assert.is(resolve(file({ 'max-value': '2MiB' })).maxValue, 2 * 1024 * 1024)
})

test('an unknown key is named together with those there are', () => {
  const message = refusal(file({ prot: 7001 }))
  assert.match(message, "unknown key 'prot' in kvnode.yaml")
  assert.match(message, 'max-value')
})

test('a bad value is named together with where it stands and what is allowed', () => {
  assert.is(
    refusal({ flags: { port: '70000' } }),
    "--port is '70000'; allowed: a whole number from 0 to 65535",
  )
  assert.match(
    refusal({ environment: { KVNODE_PORT: 'tcp://1' } }),
    "KVNODE_PORT is 'tcp://1'; allowed: a whole",
  )
  assert.match(refusal(file({ port: [1] })), "'port' in kvnode.yaml is [1]; allowed")
  assert.match(refusal(file({ 'log-level': 'loud' })), 'one of debug, info, warn, error')
  assert.match(refusal({ flags: { join: ['here'] } }), 'host:port')
})

test('a config file that is no list of keys is refused', () => {
  assert.match(refusal(file('port 7001')), "not a list of 'key: value' lines")
  assert.match(refusal(file([1, 2])), "not a list of 'key: value' lines")
})

test('an empty config file is as good as none', () => {
  assert.is(resolve(file(null)).port, 7001)
})

test('switches take true and false from files, and words from variables', () => {
  const clean = (sources: Partial<OptionSources>): boolean =>
    resolveOptions(CLUSTER_OPTIONS, { ...NOTHING, ...sources }).clean
  assert.is(clean(file({ clean: true })), true)
  assert.is(clean({ environment: { KVNODE_CLEAN: '0' } }), false)
  assert.is(clean({ environment: { KVNODE_CLEAN: 'yes' } }), true)
  assert.throws(() => clean({ environment: { KVNODE_CLEAN: 'maybe' } }), /true or false/)
})

test('addresses come as repeated flags, with commas in a variable, as a list in a file', () => {
  const two = ['10.0.0.1:7001', '[::1]:7002']
  assert.equal(resolve({ flags: { join: two } }).join, two)
  assert.equal(resolve({ environment: { KVNODE_JOIN: two.join(', ') } }).join, two)
  assert.equal(resolve(file({ join: two })).join, two)
})

test('sizes are bytes or have a unit', () => {
  const size = (written: string): number => resolve({ flags: { maxValue: written } }).maxValue
  assert.is(size('65536'), 65_536)
  assert.is(size('512KiB'), 512 * 1024)
  assert.match(refusal({ flags: { maxValue: '1MB' } }), 'such as 65536, 512KiB or 1MiB')
  assert.match(refusal({ flags: { maxValue: '0' } }), '--max-value')
  assert.match(refusal({ flags: { maxValue: '1GiB' } }), '--max-value')
})

test('variables that look like ours are found, those of container platforms are left alone', () => {
  const environment = {
    KVNODE_DATA_DIR: 'x',
    KVNODE_PORT: '1',
    KVNODE_SERVICE_HOST: 'h',
    KVNODE_PORT_7001_TCP: 't',
    PATH: '',
  }
  assert.equal(unknownVariables([PEER_OPTIONS], environment, []), ['KVNODE_DATA_DIR'])
  assert.equal(unknownVariables([PEER_OPTIONS], environment, ['KVNODE_DATA_DIR']), [])
})

test('a data directory without a name is refused as a flag, and the default in a file', () => {
  const none = { flags: {}, environment: {}, file: null }
  assert.throws(
    () => resolveOptions(PEER_OPTIONS, { ...none, flags: { data: '' } }),
    /--data is ''; allowed: a directory/,
  )
  const file = { name: 'kvnode.yaml', content: { data: '' } }
  assert.is(resolveOptions(PEER_OPTIONS, { ...none, file }).data, '')
})

test.run()
