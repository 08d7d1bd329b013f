"""Words that are usual in names of events: a name made of them alone says nothing about a person."""

_TEXT = """
accepted account action activated active activity ad add added address advert an and answer answered app application
applied article author banner begin billing blog book booked booking brand button buy call campaign cancel canceled
cancelled cart category changed chat checkout click clicked closed code color comment complete completed confirmed
contact content conversion converted count coupon created credit currency customer data date deal deleted delivered
demo deposit device disabled dismissed document download downloaded duration email enabled ended entered error event
experiment expired exported exposed failed favorite feature feedback file filled filter filtered finished first flag
flow form found free from generate generated goal group guide help home id identified imported impression in info
initiated input installed integration interaction invite invited invoice issue item joined landing language last
launched lead learn left level like liked link list listing loaded loading log logged login logout mail medium menu
message method milestone mobile modal model moved name navigation new newsletter not note notification number offer on
onboarding open opened option order ordered out page paid password path pay payment plan played pop popup post pressed
preview price pricing product profile project promotion published purchase purchased push quantity question rated
reached read ready received recurring redeemed referral refund refunded register registered registration rejected
reminder removed renewal renewed replied report request requested reset result resumed returned review reviewed sale
saved schedule scheduled screen scroll scrolled search searched section selected sent server session set settings
share shared shipped shipping shown sign signed signup site size skip skipped sku slide sorted source start started
state status step stopped store story submit submitted subscribe subscribed subscription succeeded success support
survey swiped switched tab tapped task team test text ticket time to toggled top touch track tracked transaction
transfer trial triggered tutorial type unlocked unsubscribed up update updated upgrade upgraded upload uploaded url
used user value variant verified video view viewed visit visited voted wall wallet watched webinar website widget
wishlist withdrawn workspace
"""
EVENT_WORDS = frozenset(_TEXT.split())
"""In lower case, such as `order` and `completed`."""
