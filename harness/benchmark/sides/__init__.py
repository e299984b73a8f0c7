"""The sides of the speed benchmark: the harness itself, its peers, and the machine's matmul peak.

Each is a program of its own, started by `harness.benchmark.rounds` and driven over stdin and stdout by
`harness.benchmark.sides.serve`.
"""
