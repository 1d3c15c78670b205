/** Directories that are there after a power loss. */
import { mkdir, open, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * With all above it that are missing, each on disk. Not Node's own `recursive`: where nobody can make one,
 * as below `/proc`, it tries for ever.
 * @returns its real path. @throws the system's errors
 */
export async function makeDirectory(path: string): Promise<string> {
  if (!(await madeHere(path))) {
    const parent = dirname(path)
    await makeDirectory(parent)
    await mkdir(path).catch(ignoreExisting)
    await syncDirectory(parent)
  }
  return realpath(path)
}

export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** False: what it is to be in is missing. */
async function madeHere(path: string): Promise<boolean> {
  try {
    await mkdir(path)
    await syncDirectory(dirname(path))
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(path) !== path && !(await exists(dirname(path)))) return false
    // Some systems say EROFS or EACCES of what is there.
    if ((await exists(path)) && (await stat(path)).isDirectory()) return true
    throw error
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}
