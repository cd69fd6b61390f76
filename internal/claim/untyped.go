package claim

// Untyped are the claims that no shell line shows, and why: the one list of
// what the test of the Try lines leaves out.
var Untyped = map[string]string{}
