"""The kit for science gateways: components that find each other, over the recipes and the client.

Below one root of the tree: `config/KIND` settings, `services/KIND/ID` who is there,
`leaders/KIND` elections, `claims/JOB` who works on a job, `keys` public keys, `drain/KIND/ID`
who is asked to go.
"""
