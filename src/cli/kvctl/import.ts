import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand, keyspaceFlag } from './ctl-command.ts'

export default class Import extends CtlCommand {
  static override summary = 'write the rows of a file'
  static override description =
    'NDJSON, a JSON array, CSV or TSV with a line of names, read as a stream. An import that was ' +
    'interrupted goes on where it was when the same command is run again: it keeps FILE.import-state until ' +
    'everything is in. Exit code 2 when rows are wrong, 3 when rows were not acknowledged.'
  static override args = {
    file: Args.string({
      description: "the file; '-' reads standard input",
      required: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    keyspace: keyspaceFlag,
    key: Flags.string({
      description: 'the fields whose values, joined, are the key',
      helpValue: 'FIELD[,FIELD…]',
      default: 'key',
    }),
    separator: Flags.string({ description: 'what joins them', helpValue: 'TEXT', default: ',' }),
    value: Flags.string({
      description: 'the field that is the value; without it the whole row, as JSON',
      helpValue: 'FIELD',
    }),
    format: Flags.string({
      description: 'of the file; found out by itself',
      options: ['ndjson', 'json', 'csv', 'tsv'],
    }),
    blind: Flags.boolean({
      default: false,
      description: 'do not look for what there is to replace: faster into an empty keyspace',
    }),
    w: Flags.string({ char: 'w', description: 'owners that must have a row on disk', helpValue: 'W' }),
    'in-flight': Flags.integer({ description: 'rows written at one time', default: 256, min: 1, max: 4096 }),
    'retry-for': Flags.integer({
      description: 'seconds one row is tried',
      helpValue: 'S',
      default: 30,
      min: 0,
      max: 3600,
    }),
    report: Flags.string({
      description: 'write a JSON line for every row that failed or had a key of an earlier row',
      helpValue: 'FILE',
    }),
    restart: Flags.boolean({
      default: false,
      description: 'from the beginning, whatever an earlier run left',
    }),
  }
  static override examples = [
    '<%= config.bin %> import users.csv --key id',
    '<%= config.bin %> import cities.json --key country,name --value population --report failed.ndjson',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Import)
    const { runImport } = await import('../import/run-import.ts')
    const words = {
      file: args.file,
      format: flags.format as 'ndjson' | 'json' | 'csv' | 'tsv' | undefined,
      keyspace: flags.keyspace,
      key: flags.key,
      separator: flags.separator,
      value: flags.value,
      blind: flags.blind,
      w: flags.w,
      inFlight: flags['in-flight'],
      retryMs: flags['retry-for'] * 1000,
      timeoutMs: flags.timeout,
      report: flags.report,
      restart: flags.restart,
      json: flags.json,
    }
    await runImport(words, (action) => this.withClient(flags, action))
  }
}
