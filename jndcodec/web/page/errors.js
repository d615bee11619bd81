// The errors of the command line (jndcodec/errors.py), with the same names and, where both can meet them, the same words.

export class JlcError extends Error {
  constructor(message) {
    super(message);
    this.name = this.constructor.name;
  }
}

export class FormatError extends JlcError {} // not a .jlc file, damaged or cut short
export class VersionError extends JlcError {} // of a newer version, or with a section that this decoder does not know
export class ModelError extends JlcError {} // its model is not on this page, or unusable
export class SymbolError extends JlcError {} // whole, but its symbols came out different from those encoded
export class LimitError extends JlcError {} // more pixels than allowed
export class InputError extends JlcError {} // the file cannot be read or fetched
