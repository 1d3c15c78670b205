/**
 * Text that others wrote, for one line of a terminal: it may hold control sequences, or pages of anything.
 */
export function plainText(text: string, maxLength: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach the terminal
  const plain = text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?')
  return plain.length > maxLength ? `${plain.slice(0, maxLength - 1)}…` : plain
}
